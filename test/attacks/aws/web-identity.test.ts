/** Rows C15 to C17, C11, C14 and C44: a token of AWS's STS, spoiled one way at a time. */
import { randomBytes } from 'node:crypto';
import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AccessKey, Account } from '../../kit/aws/directory.ts';
import { type Algorithm, makeIssuer, mintToken } from '../../kit/aws/issuer.ts';
import { serveIssuers } from '../../kit/aws/sts.ts';
import {
  ACCOUNT,
  AWS_TRUST_DOMAIN,
  type AwsExchange,
  type AwsWorld,
  attestAws,
  ISSUER,
  OTHER_ACCOUNT,
  OTHER_ISSUER,
  startAwsWorld,
  webIdentityEvidence,
} from '../../kit/aws/world.ts';
import { proven } from '../../kit/ca/authority.ts';
import type { Served } from '../../kit/http/served.ts';
import { refusal } from '../../kit/refusal.ts';

const AWS = 'https://sts.amazonaws.com/';
const ROLE = `arn:aws:iam::${ACCOUNT}:role/team/web`;

let world: AwsWorld;
let web: AccessKey;
beforeAll(async () => {
  world = await startAwsWorld();
});
beforeEach(() => {
  web = world.directory.assumeRole(world.account, 'team/web', 'i-0abc', {
    tags: { 'cost-center': 'engineering', account: OTHER_ACCOUNT },
    session: { ec2_source_instance_arn: `arn:aws:ec2:eu-west-1:${ACCOUNT}:instance/i-0abc` },
  });
});
afterAll(() => world.close());

describe('C56 another partition', () => {
  const token = (partition: string) =>
    minted({ claims: { sub: ROLE.replace('arn:aws:', `arn:${partition}:`) } });
  test('than the issuer’s is refused', async () => {
    await expect(attest(token('aws-cn'))).rejects.toThrow(
      refusal('issuer_account', /sub is of partition aws-cn, its issuer of aws/),
    );
  });
  test('is accepted where the issuer is configured with it', async () => {
    const issuers = [{ url: ISSUER, account: ACCOUNT, partition: 'aws-cn', jwks: 'jwks.json' }];
    expect(await attest(token('aws-cn'), { config: { issuers } })).toMatchObject({
      attributes: { partition: 'aws-cn' },
    });
    await expect(attest({}, { config: { issuers } })).rejects.toThrow(
      refusal('issuer_account', /sub is of partition aws, its issuer of aws-cn/),
    );
  });
});

const attest = (
  exchange: AwsExchange = {},
  { key = web, config = {} }: { key?: AccessKey; config?: object } = {},
) => attestAws(world, world.webIdentity(config), webIdentityEvidence(world, key), exchange);

const claimsOf = (token: Uint8Array): Record<string, unknown> =>
  JSON.parse(Buffer.from(Buffer.from(token).toString().split('.')[1] ?? '', 'base64url').toString());

interface Change {
  readonly claims?: object | ((genuine: Record<string, unknown>) => object);
  readonly aws?: object;
  /** Whose key signs. */
  readonly account?: Account;
  readonly algorithm?: Algorithm;
}

/** The genuine token's claims with one change, signed as STS signs them. */
const minted = ({
  claims = {},
  aws = {},
  account = world.account,
  algorithm = 'ES384',
}: Change): AwsExchange => ({
  answer: (token) => {
    const genuine = claimsOf(token);
    const changes = typeof claims === 'function' ? claims(genuine) : claims;
    const inner = { ...(genuine[AWS] as object), ...aws };
    const request = {
      audience: [],
      subject: '',
      algorithm,
      issuedAt: world.clock.now(),
      seconds: 60,
      aws: {},
    };
    return utf8(
      mintToken(account.issuer ?? makeIssuer(ISSUER), request, { ...genuine, [AWS]: inner, ...changes }),
    );
  },
});

describe('a genuine token', () => {
  const attributes = {
    partition: 'aws',
    account: ACCOUNT,
    principal: 'role',
    arn: ROLE,
    role: 'web',
    organization: 'o-abc1234567',
    organizationPath: 'o-abc1234567/r-ab12/ou-ab12-11111111/ou-ab12-22222222/',
    instanceArn: `arn:aws:ec2:eu-west-1:${ACCOUNT}:instance/i-0abc`,
  };

  test('gives the role and what AWS says of it', async () => {
    const facts = await attest();
    expect(facts).toStrictEqual({ node: `${ACCOUNT}/role/team/web`, attributes, exclusive: false });
  });

  test('gives the principal tags that the config names, and no other', async () => {
    const facts = await attest({}, { config: { tags: { costCenter: 'cost-center', team: 'team' } } });
    expect(facts.attributes).toStrictEqual({ ...attributes, costCenter: 'engineering' });
  });

  test('lives a minute, is for this exchange alone, and AWS is asked for it once', async () => {
    const before = world.sts.received.length;
    const key = await proven();
    let token: Uint8Array = new Uint8Array();
    const answer = (genuine: Uint8Array): Uint8Array => {
      token = genuine;
      return genuine;
    };
    await attest({ key, answer });
    const { aud, exp, iat } = claimsOf(token);
    expect(aud).toMatch(/^chancery:\/\/test\.example\/[\w-]{43}$/);
    expect(Number(exp) - Number(iat)).toBe(60);
    expect(world.sts.received.length - before).toBe(1);
    const asked = new URLSearchParams(world.sts.received.at(-1)?.body.toString());
    expect([...asked.keys()].toSorted()).toEqual([
      'Action',
      'Audience.member.1',
      'DurationSeconds',
      'SigningAlgorithm',
      'Version',
    ]);
  });

  test('by RSA is accepted too', async () => {
    await attest(minted({ algorithm: 'RS256' }));
  });

  test('is verified by the keys that the issuer publishes', async () => {
    const served: { accounts: Account[] } = { accounts: [] };
    const issuers: Served = await serveIssuers(() => served.accounts);
    const account = world.directory.account('111111111111', { issuerUrl: `${issuers.url}/three` });
    served.accounts.push(account);
    const key = world.directory.assumeRole(account, 'web');
    const config = { issuers: [{ url: `${issuers.url}/three`, account: '111111111111' }] };
    const facts = await attest({}, { key, config });
    expect(facts.node).toBe('111111111111/role/web');
    expect(issuers.received.map(({ target }) => target)).toEqual([
      '/three/.well-known/openid-configuration',
      '/three/.well-known/jwks.json',
    ]);
    await issuers.close();
  });
});

describe('a token that another account could have', () => {
  const both = {
    issuers: [
      { url: ISSUER, account: ACCOUNT, jwks: 'jwks.json' },
      { url: OTHER_ISSUER, account: OTHER_ACCOUNT, jwks: 'jwks.json' },
    ],
  };
  test.each([
    {
      name: "C15 of the attacker's own account",
      exchange: {},
      key: () => world.directory.assumeRole(world.other, 'team/web'),
      code: 'issuer_unknown',
      says: /issuer that is not listed/,
    },
    {
      name: 'C15 of an issuer with a slash more',
      exchange: () => minted({ claims: { iss: `${ISSUER}/` } }),
      code: 'issuer_unknown',
      says: /not listed/,
    },
    {
      name: 'C15 of an issuer in capitals',
      exchange: () => minted({ claims: { iss: ISSUER.toUpperCase() } }),
      code: 'issuer_unknown',
      says: /not listed/,
    },
    {
      name: 'C15 of an issuer below ours',
      exchange: () => minted({ claims: { iss: `${ISSUER}.evil.example` } }),
      code: 'issuer_unknown',
      says: /not listed/,
    },
    {
      name: 'C15 of no issuer',
      exchange: () => minted({ claims: { iss: undefined } }),
      code: 'issuer_unknown',
      says: /not listed/,
    },
    {
      name: "C15 with our issuer's name, signed by another",
      exchange: () => minted({ account: world.other }),
      code: 'jwt_signature',
      says: /signature does not verify/,
    },
    {
      name: "C16 with another account in AWS's part",
      exchange: () => minted({ aws: { aws_account: OTHER_ACCOUNT } }),
      code: 'issuer_account',
      says: /token is of account 999999999999, its issuer of 123456789012/,
    },
    {
      name: "C16 without an account in AWS's part",
      exchange: () => minted({ aws: { aws_account: undefined } }),
      code: 'claim_rule',
      says: /aws_account is missing/,
    },
    {
      name: 'C16 with the account as a number',
      exchange: () => minted({ aws: { aws_account: Number(ACCOUNT) } }),
      code: 'claim_rule',
      says: /aws_account is missing or no string/,
    },
    {
      name: "C16 without AWS's part",
      exchange: () => minted({ claims: { [AWS]: undefined } }),
      code: 'claim_rule',
      says: /aws_account is missing/,
    },
    {
      name: 'C16 with a role of another account',
      exchange: () => minted({ claims: { sub: `arn:aws:iam::${OTHER_ACCOUNT}:role/team/web` } }),
      code: 'issuer_account',
      says: /sub is of account 999999999999/,
    },
    {
      name: 'C16 of an account whose issuer is listed for another',
      exchange: () => minted({ claims: { iss: OTHER_ISSUER } }),
      config: both,
      code: 'issuer_account',
      says: /its issuer of 999999999999/,
    },
  ] as const)('$name', async (row) => {
    const exchange = typeof row.exchange === 'function' ? row.exchange() : row.exchange;
    const key = 'key' in row ? row.key() : web;
    const config = 'config' in row ? row.config : {};
    await expect(attest(exchange, { key, config })).rejects.toThrow(refusal(row.code, row.says));
  });
});

describe('who may join', () => {
  const arns = [`arn:aws:iam::${ACCOUNT}:role/team/web-*`];
  const role = (name: string) => () => world.role(name);
  test('a role whose ARN matches', () => attest({}, { key: world.role('team/web-1'), config: { arns } }));

  test.each([
    {
      name: 'C12 a role in another path',
      key: role('web-1'),
      config: { arns },
      code: 'arn_policy',
      says: /role\/web-1 matches none/,
    },
    {
      name: 'C12 a `*` that would cross a path',
      key: role('team/web-/admin'),
      config: { arns },
      code: 'arn_policy',
      says: /matches none/,
    },
    {
      name: 'C13 a user',
      key: () => world.directory.user(world.account, 'web'),
      config: {},
      code: 'principal_kind',
      says: /kind user/,
    },
    {
      name: 'C13 root',
      key: () => world.directory.root(world.account),
      config: {},
      code: 'principal_kind',
      says: /kind root/,
    },
    {
      name: 'C14 an account of another organisation',
      key: () => web,
      config: { organization: { id: 'o-zzzzzzzzzz' } },
      code: 'aws_organization',
      says: /does not say that the account is in o-zzzzzzzzzz/,
    },
    {
      name: 'C14 an account below other units',
      key: () => web,
      config: { organization: { id: 'o-abc1234567', units: ['ou-ab12-99999999'] } },
      code: 'aws_organization',
      says: /below one of the units/,
    },
  ] as const)('$name', async ({ key, config, code, says }) => {
    await expect(attest({}, { key: key(), config })).rejects.toThrow(refusal(code, says));
  });

  test.each([
    { name: 'no organisation', aws: { org_id: undefined } },
    { name: 'a list of organisations', aws: { org_id: ['o-abc1234567'] } },
    { name: 'no path', aws: { ou_path: undefined } },
    { name: 'a longer unit', aws: { ou_path: 'o-abc1234567/r-ab12/ou-ab12-111111119/' } },
  ])('C14 a token with $name is in none', async ({ aws }) => {
    const config = { organization: { id: 'o-abc1234567', units: ['ou-ab12-11111111'] } };
    await attest({}, { config });
    await expect(attest(minted({ aws }), { config })).rejects.toThrow(
      refusal('aws_organization', /does not say/),
    );
  });

  test('an ARN that is none', async () => {
    const exchange = minted({ claims: { sub: 'team/web' } });
    await expect(attest(exchange)).rejects.toThrow(refusal('claim_rule', /not that of a role/));
  });
});

test('C17 what the caller wrote into the token gives it nothing', async () => {
  const config = { tags: { team: 'team', costCenter: 'cost-center' } };
  const plain = await attest({}, { config });
  const tagged = minted({ aws: { request_tags: { team: 'admins', 'cost-center': 'other', role: 'root' } } });
  expect(await attest(tagged, { config })).toEqual(plain);
});

describe('C11 everything that an eavesdropper at the CA could keep', () => {
  test.each([
    { name: 'another key', replay: async () => ({ key: await proven() }) },
    { name: 'another exchange', replay: async () => ({ nonce: randomBytes(32) }) },
  ])('is refused for $name', async ({ replay }) => {
    const key = await proven();
    let captured: Uint8Array = new Uint8Array();
    const keep = (genuine: Uint8Array): Uint8Array => {
      captured = genuine;
      return genuine;
    };
    await attest({ key, answer: keep });
    const again = { key, ...(await replay()), answer: () => captured };
    await expect(attest(again)).rejects.toThrow(refusal('jwt_aud', /expected chancery:\/\/test\.example/));
  });
});

describe('a token of another form', () => {
  const ours = (genuine: Record<string, unknown>): string => String(genuine['aud']);
  const header = (change: object) => ({
    answer: (token: Uint8Array) => {
      const [head = '', ...rest] = Buffer.from(token).toString().split('.');
      const read = JSON.parse(Buffer.from(head, 'base64url').toString()) as object;
      return utf8(
        [Buffer.from(JSON.stringify({ ...read, ...change })).toString('base64url'), ...rest].join('.'),
      );
    },
  });
  const now = () => Math.floor(world.clock.now().getTime() / 1000);
  test.each([
    {
      name: 'C29 for us and for another',
      exchange: () => minted({ claims: (g) => ({ aud: [ours(g), 'https://other.example'] }) }),
      code: 'jwt_aud',
      says: /other\.example/,
    },
    {
      name: 'C29 for another trust domain',
      exchange: () => minted({ claims: (g) => ({ aud: ours(g).replace('test.', 'prod.') }) }),
      code: 'jwt_aud',
      says: /prod\.example/,
    },
    {
      name: 'C29 for the trust domain, without the binding',
      exchange: () => minted({ claims: { aud: `chancery://${AWS_TRUST_DOMAIN}` } }),
      code: 'jwt_aud',
      says: /expected chancery/,
    },
    {
      name: 'C30 that lives an hour',
      exchange: () => minted({ claims: () => ({ exp: now() + 3600 }) }),
      code: 'jwt_time',
      says: /lives 3[56]\d\d s, expected 1 to 300/,
    },
    {
      name: 'C30 that has ended',
      exchange: () => minted({ claims: () => ({ iat: now() - 100, exp: now() - 40 }) }),
      code: 'jwt_time',
      says: /it expired at/,
    },
    {
      name: 'C25 unsigned',
      exchange: () => header({ alg: 'none' }),
      code: 'jwt_alg',
      says: /alg is "none", expected ES384 or RS256/,
    },
    {
      name: 'C25 by a shared secret',
      exchange: () => header({ alg: 'HS384' }),
      code: 'jwt_alg',
      says: /HS384/,
    },
    {
      name: 'C26 with a key of its own',
      exchange: () => header({ jwk: {} }),
      code: 'jwt_header',
      says: /"jwk"/,
    },
    {
      name: 'cut short',
      exchange: () => ({ answer: (token: Uint8Array) => token.subarray(0, -3) }),
      code: 'jwt_parse',
      says: /canonical/,
    },
    {
      name: 'nothing',
      exchange: () => ({ answer: () => new Uint8Array() }),
      code: 'jwt_parse',
      says: /three base64url parts/,
    },
    {
      name: 'an opening',
      exchange: () => ({ opening: utf8('x') }),
      code: 'evidence_parse',
      says: /the first message of aws-.* must be empty/,
    },
  ] as const satisfies { exchange: () => AwsExchange; [other: string]: unknown }[])(
    '$name',
    async ({ exchange, code, says }) => {
      await expect(attest(exchange())).rejects.toThrow(refusal(code, says));
    },
  );
});

test('C44 no refusal tells the token', async () => {
  const exchanges = [
    minted({ account: world.other }),
    minted({ claims: { sub: 'x' } }),
    minted({ claims: { aud: 'x' } }),
  ];
  for (const { answer = (same: Uint8Array) => same } of exchanges) {
    let token = '';
    const keep = async (genuine: Uint8Array): Promise<Uint8Array> => {
      const said = await answer(genuine);
      token = Buffer.from(said).toString();
      return said;
    };
    const error: unknown = await attest({ answer: keep }).catch((thrown: unknown) => thrown);
    const all = JSON.stringify(error, Object.getOwnPropertyNames(error));
    expect(token.split('.').filter((part) => all.includes(part.slice(0, 30)))).toEqual([]);
  }
});

test('the genuine token that the rows spoil carries the binding as its audience', async () => {
  const source = webIdentityEvidence(world, web);
  const exchange = await source.begin(new Uint8Array(), AbortSignal.timeout(5000));
  const binding = randomBytes(32);
  const token = await exchange.answer(new Uint8Array(), binding);
  expect(claimsOf(token)['aud']).toBe(audienceOf(AWS_TRUST_DOMAIN, binding));
  await expect(exchange.answer(utf8('?'), binding)).rejects.toThrow(
    refusal('evidence_parse', /more than a token/),
  );
});
