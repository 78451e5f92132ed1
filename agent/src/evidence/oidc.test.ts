import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { AUDIENCE, answerOf, type PlaceOptions, place, replied } from '../../../test/kit/evidence/place.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { OidcEvidenceConfig, oidcEvidence, oidcEvidenceKind } from './oidc.ts';

const URL_SET = 'https://token.actions.example/req?api-version=2';
const GITHUB = { ACTIONS_ID_TOKEN_REQUEST_URL: URL_SET, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'r-1' };

async function tokenAt(config: object, options: PlaceOptions = {}) {
  const { deps, asked } = place(options);
  const answer = await answerOf(oidcEvidence(OidcEvidenceConfig.parse(config), deps));
  return { token: Buffer.from(answer).toString(), asked };
}

test('is named by its issuer where that is set', () => {
  const named = (config: object) => oidcEvidence(OidcEvidenceConfig.parse(config), place().deps).platform;
  expect(named({})).toBe('oidc');
  expect(named({ issuer: 'gitlab' })).toBe('oidc/gitlab');
});

describe('the token', () => {
  test('in a file or a variable is sent without the white space around it', async () => {
    const files = { '/run/token': 'a.b.c\n' };
    expect(await tokenAt({ tokenFile: '/run/token' }, { files })).toEqual({ token: 'a.b.c', asked: [] });
    const env = { CI_TOKEN: ' d.e.f ' };
    expect(await tokenAt({ tokenVariable: 'CI_TOKEN' }, { env })).toEqual({ token: 'd.e.f', asked: [] });
  });

  test('of GitHub Actions is asked for with the binding, after the query that GitHub set', async () => {
    const answer = () => replied(200, '{"value":"g.h.i","count":1}');
    const { token, asked } = await tokenAt({}, { env: GITHUB, answer });
    expect(token).toBe('g.h.i');
    expect(asked[0]?.url).toBe(`${URL_SET}&audience=${encodeURIComponent(AUDIENCE)}`);
    expect(asked[0]?.headers).toMatchObject({ authorization: 'Bearer r-1' });
    const bare = { ...GITHUB, ACTIONS_ID_TOKEN_REQUEST_URL: 'https://token.actions.example/req' };
    const other = await tokenAt({}, { env: bare, answer });
    expect(other.asked[0]?.url).toMatch(/\/req\?audience=chancery/);
  });
});

describe('errors for an operator if there is no token', () => {
  const set = { tokenVariable: 'CI_TOKEN' };
  const away = new IdentityError(
    'platform_unavailable',
    'https://token.actions.example/req: no whole answer',
  );
  test.each<[string, object, PlaceOptions, RegExp]>([
    ['a file that is missing', { tokenFile: '/run/none' }, {}, /^the token in \/run\/none: no such file/],
    ['a variable that is not set', set, {}, /^the environment variable CI_TOKEN has no token$/],
    ['a variable that is empty', set, { env: { CI_TOKEN: '' } }, /^the environment variable CI_TOKEN has no/],
    [
      'a job that may not ask',
      {},
      {},
      /REQUEST_URL is not set: give the job "permissions: id-token: write"$/,
    ],
    [
      'a service that refuses',
      {},
      { env: GITHUB, answer: () => replied(403) },
      /answered 403, expected 200$/,
    ],
    [
      'a service that is away',
      {},
      { env: GITHUB, answer: () => away },
      /token\.actions\.example\/req: no whole/,
    ],
    [
      'an answer without it',
      {},
      { env: GITHUB, answer: () => replied(200, '{}') },
      /token service sent no token$/,
    ],
    ['an answer that is a list', {}, { env: GITHUB, answer: () => replied(200, '[]') }, /sent no token$/],
  ])('%s', async (_, config, options, says) => {
    await expect(tokenAt(config, options)).rejects.toEqual(refusal('platform_unavailable', says));
  });
});

describe('the config', () => {
  test.each([
    [
      'both a file and a variable',
      { tokenFile: '/t', tokenVariable: 'T' },
      /^write tokenFile or tokenVariable/,
    ],
    ['a variable that no shell can set', { tokenVariable: '1T' }, /./],
    ['an issuer with a slash', { issuer: 'a/b' }, /./],
  ])('refuses %s', (_, config, says) => {
    expect(OidcEvidenceConfig.safeParse(config).error?.issues[0]?.message).toMatch(says);
  });
});

describe('looks whether this is a CI job', () => {
  test.each<[string, Record<string, string>, object]>([
    ['of GitHub', GITHUB, { usable: true, config: { issuer: 'github' } }],
    [
      'of GitHub, without the permission',
      { GITHUB_ACTIONS: 'true' },
      { usable: false, says: expect.stringMatching(/without "permissions: id-token: write"$/) },
    ],
    [
      'of GitLab',
      { GITLAB_CI: 'true', CHANCERY_ID_TOKEN: 'a.b.c' },
      { usable: true, config: { issuer: 'gitlab', tokenVariable: 'CHANCERY_ID_TOKEN' } },
    ],
    [
      'of GitLab, without the token',
      { GITLAB_CI: 'true' },
      { usable: false, says: expect.stringMatching(/without id_tokens: CHANCERY_ID_TOKEN$/) },
    ],
    [
      'of another system',
      { CHANCERY_ID_TOKEN: 'a.b.c' },
      { usable: true, config: { tokenVariable: 'CHANCERY_ID_TOKEN' } },
    ],
    [
      'no',
      {},
      { usable: false, says: expect.stringMatching(/^neither ACTIONS_.* nor CHANCERY_ID_TOKEN is set$/) },
    ],
  ])('%s', async (_, env, expected) => {
    const found = await oidcEvidenceKind.detect(place({ env }).deps, AbortSignal.timeout(5_000));
    expect(found).toMatchObject(expected);
    if (found.usable) expect(OidcEvidenceConfig.safeParse(found.config ?? {}).success).toBe(true);
  });
});
