import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { describe, expect, test } from 'vitest';
import { AUDIENCE, answerOf, type PlaceOptions, place, replied } from '../../../test/kit/evidence/place.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { GcpEvidenceConfig, gcpEvidence, gcpEvidenceKind } from './gcp.ts';

const away = new IdentityError('platform_unavailable', 'http://metadata.google.internal: ENOTFOUND');

async function tokenAt(config: object, options: PlaceOptions) {
  const { deps, asked } = place(options);
  const answer = await answerOf(gcpEvidence(GcpEvidenceConfig.parse(config), deps));
  return { token: Buffer.from(answer).toString(), asked };
}

describe('an identity token', () => {
  test('is asked for with the binding, in full, and with the header that Google wants', async () => {
    const { token, asked } = await tokenAt({}, { answer: () => replied(200, 'a.b.c') });
    expect(token).toBe('a.b.c');
    const url = new URL(asked[0]?.url ?? '');
    expect(url.origin).toBe('http://metadata.google.internal');
    expect(url.pathname).toBe('/computeMetadata/v1/instance/service-accounts/default/identity');
    expect(Object.fromEntries(url.searchParams)).toEqual({ audience: AUDIENCE, format: 'full' });
    expect(asked[0]?.headers).toEqual({ 'Metadata-Flavor': 'Google' });
  });

  test('is of the service account, and from the server, that the config names', async () => {
    const config = { endpoint: 'http://127.0.0.1:8080', serviceAccount: 'ci@p.example' };
    const { asked } = await tokenAt(config, { answer: () => replied(200, 'a.b.c') });
    expect(asked[0]?.url).toMatch(/^http:\/\/127\.0\.0\.1:8080\/.*\/service-accounts\/ci@p\.example\//);
  });

  test.each([
    [404, /identity answered 404: has this instance a service account\?$/],
    [403, /identity answered 403$/],
    [302, /identity answered 302$/],
  ])('is not what comes with HTTP %s', async (status, says) => {
    const attempt = tokenAt({}, { answer: () => replied(status, 'a.b.c') });
    await expect(attempt).rejects.toEqual(refusal('platform_unavailable', says));
  });
});

test('a metadata server that is away is named, with why', async () => {
  const outbound = openOutbound();
  const config = GcpEvidenceConfig.parse({ endpoint: 'http://127.0.0.1:1' });
  const attempt = answerOf(gcpEvidence(config, { ...place().deps, outbound }));
  await expect(attempt).rejects.toEqual(
    refusal('platform_unavailable', /^http:\/\/127\.0\.0\.1:1\/computeMetadata\/.*: .*refused/),
  );
  outbound.close();
});

describe('the config', () => {
  test.each([
    ['an https server', { endpoint: 'https://metadata.google.internal' }],
    ['a service account with a slash', { serviceAccount: 'a/../../b' }],
    ['an unknown key', { audience: 'x' }],
  ])('refuses %s', (_, config) => {
    expect(GcpEvidenceConfig.safeParse(config).success).toBe(false);
  });
});

describe('looks whether this is an instance', () => {
  test.each([
    [
      'it is',
      () => replied(200, '42'),
      { usable: true, says: /at http:\/\/metadata\.google\.internal answers 200$/ },
    ],
    ['something else answers', () => replied(404), { usable: false, says: /answers 404$/ }],
    ['nothing answers', () => away, { usable: false, says: /ENOTFOUND$/ }],
  ])('%s', async (_, answer, { usable, says }) => {
    const found = await gcpEvidenceKind.detect(place({ answer }).deps, AbortSignal.timeout(5_000));
    expect(found).toEqual({ usable, says: expect.stringMatching(says) });
  });
});
