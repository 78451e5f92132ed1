import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { OutboundReply, OutboundRequest } from '@chancery/shared/outbound/http.ts';
import { describe, expect, test } from 'vitest';
import { place, replied } from '../../../../test/kit/evidence/place.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { awsCaller } from './caller.ts';
import { detectAws, regionOfInstance } from './metadata.ts';

const soon = () => AbortSignal.timeout(5_000);
const away = new IdentityError('platform_unavailable', 'http://169.254.169.254/latest/api/token: timed out');

/** An instance, with this answer to the question after the token's. */
const instance =
  (answer: OutboundReply | Error) =>
  ({ method }: OutboundRequest): OutboundReply | Error =>
    method === 'PUT' ? replied(200, 't-1') : answer;

describe('the region of an instance', () => {
  test('is asked for with a token of version 2', async () => {
    const { deps, asked } = place({ answer: instance(replied(200, 'eu-central-1\n')) });
    expect(await regionOfInstance(deps, soon())).toBe('eu-central-1');
    expect(asked.map(({ url, method, headers }) => [method, url, headers])).toEqual([
      ['PUT', 'http://169.254.169.254/latest/api/token', { 'x-aws-ec2-metadata-token-ttl-seconds': '60' }],
      [
        undefined,
        'http://169.254.169.254/latest/meta-data/placement/region',
        { 'x-aws-ec2-metadata-token': 't-1' },
      ],
    ]);
  });

  test('is asked for where AWS’s own variable says', async () => {
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://[fd00:ec2::254]/' };
    const { deps, asked } = place({ env, answer: instance(replied(200, 'us-east-1')) });
    await regionOfInstance(deps, soon());
    expect(asked[0]?.url).toBe('http://[fd00:ec2::254]/latest/api/token');
  });

  test.each([
    ['no token', () => replied(403), /^the metadata service answered 403 instead of a token$/],
    ['a page instead of a token', () => replied(200, '<a b>'), /answered 200 instead of a token$/],
    ['no service', () => away, /timed out$/],
    ['no region', instance(replied(404)), /^the instance metadata tells no region: 404$/],
    ['a region that is none', instance(replied(200, 'evil.example')), /tells no region: 200$/],
  ])('is reported as missing with %s', async (_, answer, says) => {
    const attempt = regionOfInstance(place({ answer }).deps, soon());
    await expect(attempt).rejects.toEqual(refusal('platform_unavailable', says));
  });
});

test.each([
  ['the config', 'eu-west-1', { AWS_REGION: 'x', AWS_DEFAULT_REGION: 'y' }, 'eu-west-1'],
  ['AWS_REGION', undefined, { AWS_REGION: 'eu-west-2', AWS_DEFAULT_REGION: 'y' }, 'eu-west-2'],
  ['AWS_DEFAULT_REGION', undefined, { AWS_DEFAULT_REGION: 'eu-west-3' }, 'eu-west-3'],
  ['the instance', undefined, {}, 'eu-north-1'],
])('the region is that of %s', async (_, config, env, expected) => {
  const { deps } = place({ env, answer: instance(replied(200, 'eu-north-1')) });
  expect(await awsCaller(config, deps).region(soon())).toBe(expected);
});

describe('looks whether AWS has given credentials', () => {
  test.each([
    ['a variable says so', { AWS_PROFILE: 'ci' }, () => away, { usable: true, says: 'AWS_PROFILE is set' }],
    ['an instance gives tokens', {}, instance(replied(404)), { usable: true, says: /service gives tokens$/ }],
    [
      'a variable is empty',
      { AWS_PROFILE: '' },
      () => away,
      { usable: false, says: /no AWS_\* variable.*timed out$/ },
    ],
    [
      'the metadata service may not be asked',
      { AWS_EC2_METADATA_DISABLED: 'true' },
      undefined,
      { usable: false, says: /AWS_EC2_METADATA_DISABLED is true$/ },
    ],
  ])('%s', async (_, env, answer, { usable, says }) => {
    const found = await detectAws(place({ env, answer }).deps, soon());
    expect(found).toEqual({ usable, says: expect.stringMatching(says) });
  });
});
