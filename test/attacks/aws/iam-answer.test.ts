/** Rows C7 to C9, C12 to C14 and C44: what STS answers, spoiled one way at a time, and whom it tells of. */
import { AwsIamConfig, awsIamAttestor } from '@chancery/ca/attestors/aws/iam.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { OutboundRequest } from '@chancery/shared/outbound/http.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AccessKey } from '../../kit/aws/directory.ts';
import { startSts } from '../../kit/aws/sts.ts';
import { localhostTls } from '../../kit/aws/tls.ts';
import { ACCOUNT, type AwsWorld, attestAws, iamEvidence, startAwsWorld } from '../../kit/aws/world.ts';
import { type Answer, type Spoilt, serve } from '../../kit/http/served.ts';
import { refusal } from '../../kit/refusal.ts';

let world: AwsWorld;
let web: AccessKey;
beforeAll(async () => {
  world = await startAwsWorld();
  web = world.role();
});
afterEach(() => world.sts.spoil(undefined));
afterAll(() => world.close());

const attest = ({ key = web, config = {} }: { key?: AccessKey; config?: object } = {}) =>
  attestAws(world, world.iam(config), iamEvidence(world, key));

const json = (value: unknown): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: typeof value === 'string' ? value : JSON.stringify(value),
});
const told = (changes: object): Answer =>
  json({
    GetCallerIdentityResponse: {
      GetCallerIdentityResult: {
        Account: ACCOUNT,
        Arn: `arn:aws:sts::${ACCOUNT}:assumed-role/web/i-0`,
        UserId: 'AROAABCDEFGHIJKLMNOPQ:i-0',
        ...changes,
      },
      ResponseMetadata: { RequestId: 'x' },
    },
  });

describe('XML, which older endpoints answer whatever Accept says', () => {
  const xml = (body: string, type = 'text/xml'): Answer => ({
    status: 200,
    headers: { 'content-type': type },
    body,
  });
  const result = `<GetCallerIdentityResult>
      <Arn>arn:aws:sts::${ACCOUNT}:assumed-role/web/i-0</Arn>
      <UserId>AROAABCDEFGHIJKLMNOPQ:i-0</UserId>
      <Account>${ACCOUNT}</Account>
    </GetCallerIdentityResult>`;
  const meta = '<ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>';
  const whole = (inside: string) =>
    `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  ${inside}\n</GetCallerIdentityResponse>\n`;

  test.each([
    ['as STS writes it', xml(whole(result + meta))],
    [
      'with a declaration',
      xml(`<?xml version="1.0" encoding="UTF-8"?>\n${whole(result)}`, 'application/xml'),
    ],
    ['with an entity', xml(whole(result.replace('i-0<', '&#105;-0<')), 'text/xml;charset=utf-8')],
  ])('%s', async (_, answer) => {
    world.sts.spoil(() => answer);
    expect((await attest()).node).toBe(`${ACCOUNT}/AROAABCDEFGHIJKLMNOPQ`);
  });

  test.each([
    [
      'C58 a result and an error',
      whole(`${result}<Error><Code>AccessDenied</Code></Error>`),
      /unexpected member Error/,
    ],
    ['the account twice', whole(result.replace('<Arn>', '<Account>1</Account><Arn>')), /has Account twice/],
    ['a comment', whole(result.replace('web', 'we<!-- -->b')), /cannot be read at character/],
    ['CDATA', whole(result.replace('web', '<![CDATA[web]]>')), /cannot be read at character/],
    ['a document type', `<!DOCTYPE x [<!ENTITY a "b">]>${whole(result)}`, /cannot be read at character/],
    ['an entity of its own', whole(result.replace('web', '&web;')), /an entity that it may not have/],
    ['another attribute', whole(result).replace('xmlns', 'xmlns:x'), /cannot be read at character/],
    ['text between elements', whole(`x${result}`), /text between elements/],
    ['two roots', whole(result) + whole(result), /GetCallerIdentityResponse twice/],
    ['two roots of two names', `${whole(result)}<Error/>`, /must have one root element/],
    ['no end', whole(result).slice(0, -30), /./],
    ['an element that is not open', `${whole(result)}</Error>`, /has an end tag without its start tag/],
    ['depth', '<a>'.repeat(100_000), /nested deeper|longer than/],
    [
      'another action',
      whole(result).replaceAll('CallerIdentityRes', 'SessionTokenRes'),
      /no GetCallerIdentity/,
    ],
  ])('is refused with %s', async (_, body, says) => {
    world.sts.spoil(() => xml(body));
    await expect(attest()).rejects.toThrow(expect.objectContaining({ message: expect.stringMatching(says) }));
  });

  test('a refusal keeps its code', async () => {
    const error = '<Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>x</Message></Error>';
    const body = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${error}</ErrorResponse>`;
    world.sts.spoil(() => ({ ...xml(body), status: 403 }));
    await expect(attest()).rejects.toThrow(refusal('sts_refused', /STS refused: ExpiredToken/));
  });
});

describe("C7 and C8 what is not STS's answer", () => {
  test('the answer that the rows below spoil is accepted', async () => {
    world.sts.spoil(() => told({}));
    expect((await attest()).node).toBe(`${ACCOUNT}/AROAABCDEFGHIJKLMNOPQ`);
  });

  const genuine = JSON.stringify(JSON.parse(String(told({}).body)));
  const rows: { name: string; spoil: Spoilt; code: Parameters<typeof refusal>[0]; says: RegExp }[] = [
    {
      name: 'HTML',
      spoil: (answer) => ({ ...answer, headers: { 'content-type': 'text/html' } }),
      code: 'sts_response',
      says: /answered text\/html, neither JSON nor XML/,
    },
    {
      name: 'JSON that is called XML',
      spoil: (answer) => ({ ...answer, headers: { 'content-type': 'text/xml' } }),
      code: 'sts_response',
      says: /XML must have one root element/,
    },
    {
      name: 'C58 a result and an error',
      spoil: () => json(genuine.replace(/}$/, ',"Error":{"Code":"AccessDenied"}}')),
      code: 'sts_response',
      says: /has an unexpected member Error/,
    },
    {
      name: 'C58 an error beside the result',
      spoil: () => json(genuine.replace('"ResponseMetadata"', '"Error":{},"ResponseMetadata"')),
      code: 'sts_response',
      says: /has an unexpected member Error/,
    },
    { name: 'no JSON', spoil: () => json('<html>'), code: 'sts_response', says: /a value is expected/ },
    {
      name: 'the account twice',
      spoil: () => json(genuine.replace('"Account"', '"Account":"1","Account"')),
      code: 'sts_response',
      says: /same key twice/,
    },
    {
      name: 'another action’s answer',
      spoil: () => json(genuine.replace('GetCallerIdentityResponse', 'AssumeRoleResponse')),
      code: 'sts_response',
      says: /no GetCallerIdentityResponse/,
    },
    {
      name: 'no result',
      spoil: () => json({ GetCallerIdentityResponse: { GetCallerIdentityResult: null } }),
      code: 'sts_response',
      says: /no GetCallerIdentityResult/,
    },
    { name: 'a list', spoil: () => json([told({})]), code: 'sts_response', says: /no object|nested/ },
    {
      name: 'the account as a number',
      spoil: () => told({ Account: 123456789012 }),
      code: 'sts_response',
      says: /no Account, or one that is no text/,
    },
    { name: 'no user id', spoil: () => told({ UserId: undefined }), code: 'sts_response', says: /no UserId/ },
    {
      name: "another account than the ARN's",
      spoil: () => told({ Account: '999999999999' }),
      code: 'sts_response',
      says: /not the one of its ARN/,
    },
    {
      name: "another session than the ARN's",
      spoil: () => told({ UserId: 'AROAABCDEFGHIJKLMNOPQ:i-1' }),
      code: 'sts_response',
      says: /user id is not one of the assumed-role/,
    },
    {
      name: "a user's id for a role",
      spoil: () => told({ UserId: 'AIDAABCDEFGHIJKLMNOPQ:i-0' }),
      code: 'sts_response',
      says: /user id is not one of the assumed-role/,
    },
    {
      name: 'an ARN of another partition',
      spoil: () => told({ Arn: `arn:aws-cn:sts::${ACCOUNT}:assumed-role/web/i-0` }),
      code: 'sts_response',
      says: /another partition/,
    },
    {
      name: 'an ARN of a bucket',
      spoil: () => told({ Arn: `arn:aws:s3::${ACCOUNT}:role/web` }),
      code: 'sts_response',
      says: /not that of a role/,
    },
    {
      name: 'a long ARN',
      spoil: () => told({ Arn: `arn:aws:sts::${ACCOUNT}:assumed-role/${'w'.repeat(2100)}/i-0` }),
      code: 'sts_response',
      says: /ARN of 21\d\d characters/,
    },
    {
      name: '302',
      spoil: () => ({ status: 302, headers: { location: 'https://sts.amazonaws.com/' } }),
      code: 'sts_response',
      says: /302: a redirect is not followed/,
    },
    {
      name: '403 without a reason',
      spoil: () => ({ status: 403 }),
      code: 'sts_refused',
      says: /answered 403$/,
    },
    { name: '500', spoil: () => ({ status: 500 }), code: 'platform_unavailable', says: /answered 500/ },
    {
      name: 'throttling',
      spoil: () => ({ ...json({ Error: { Code: 'Throttling' } }), status: 400 }),
      code: 'platform_unavailable',
      says: /Throttling/,
    },
    {
      name: '10 MB',
      spoil: (answer) => ({ ...answer, body: Buffer.alloc(10 << 20, ' ') }),
      code: 'platform_unavailable',
      says: /longer than 16384/,
    },
    { name: 'no answer', spoil: 'hang', code: 'platform_unavailable', says: /no whole answer/ },
    { name: 'a byte now and then', spoil: 'drip', code: 'platform_unavailable', says: /no whole answer/ },
    { name: 'half an answer', spoil: 'cut', code: 'platform_unavailable', says: /aborted|ECONNRESET|socket/ },
  ];
  test.each(rows)('$name', async ({ spoil, code, says }) => {
    world.sts.spoil(spoil);
    await expect(attest()).rejects.toThrow(refusal(code, says));
  });

  test.each([301, 302, 303, 307, 308])(
    'C9 a redirect by %i to an address of ours reaches nobody',
    async (status) => {
      const admin = await serve(() => told({}));
      world.sts.spoil(() => ({ status, headers: { location: `${admin.url}/` } }));
      await expect(attest()).rejects.toThrow(refusal('sts_response', /a redirect is not followed/));
      expect(admin.received).toEqual([]);
      await admin.close();
    },
  );
});

describe('C12 and C13 who may join', () => {
  const arns = [
    `arn:aws:sts::${ACCOUNT}:assumed-role/web`,
    `arn:aws:sts::${ACCOUNT}:assumed-role/team-*-prod`,
  ];
  const role = (name: string, session?: string) => () => world.role(name, session);
  const allowed = [role('web'), role('any/path/web'), role('team-a-prod'), role('team--prod')];
  test.each(allowed)('allowed: %#', async (key) => {
    await attest({ key: key(), config: { arns } });
  });

  const rows: {
    name: string;
    key: () => AccessKey;
    config?: object;
    code: Parameters<typeof refusal>[0];
    says: RegExp;
  }[] = [
    {
      name: 'C12 a role of that name in another account',
      key: () => world.directory.assumeRole(world.other, 'web'),
      code: 'arn_policy',
      says: /account 999999999999 is not listed/,
    },
    { name: 'C12 another role', key: role('web2'), code: 'arn_policy', says: /matches none/ },
    {
      name: 'C12 a role whose session has the allowed name',
      key: role('other', 'web'),
      code: 'arn_policy',
      says: /assumed-role\/other matches none/,
    },
    {
      name: 'C12 a session named like an ARN',
      key: role('other', `arn:aws:sts::${ACCOUNT}:assumed-role/web`),
      code: 'sts_response',
      says: /not that of a role/,
    },
    {
      name: 'C12 a `*` across the border of role and session',
      key: role('team-a', 'x-prod'),
      code: 'arn_policy',
      says: /matches none/,
    },
    {
      name: 'C12 a role that ends as a pattern does, shorter',
      key: role('team-prod'),
      code: 'arn_policy',
      says: /matches none/,
    },
    {
      name: 'C13 root',
      key: () => world.directory.root(world.account),
      code: 'principal_kind',
      says: /kind root/,
    },
    {
      name: 'C13 a user',
      key: () => world.directory.user(world.account, 'web'),
      code: 'principal_kind',
      says: /kind user/,
    },
    {
      name: 'C13 a federated user',
      key: () => world.directory.federatedUser(world.account, 'web'),
      code: 'principal_kind',
      says: /kind federated-user/,
    },
    {
      name: 'C13 a role, where only users may join',
      key: role('web'),
      config: { principals: ['user'] },
      code: 'principal_kind',
      says: /kind assumed-role/,
    },
  ];
  test.each(rows)('$name', async ({ key, config, code, says }) => {
    await expect(attest({ key: key(), config: config ?? { arns } })).rejects.toThrow(refusal(code, says));
  });

  test.each([
    {
      kind: 'user',
      key: () => world.directory.user(world.account, 'ci/deploy'),
      node: /^123456789012\/AIDA/,
      own: { user: 'deploy' },
    },
    {
      kind: 'federated-user',
      key: () => world.directory.federatedUser(world.account, 'ci'),
      node: /^123456789012\/federated-user\/ci$/,
      own: {},
    },
    {
      kind: 'root',
      key: () => world.directory.root(world.account),
      node: /^123456789012\/123456789012$/,
      own: {},
    },
  ])('a $kind joins where it is asked for', async ({ kind, key, node, own }) => {
    const facts = await attest({ key: key(), config: { principals: [kind] } });
    expect(facts.node).toMatch(node);
    expect(facts.attributes).toMatchObject({ principal: kind, ...own });
  });
});

describe('C8 an STS over TLS', () => {
  const HOST = 'sts.eu-west-1.amazonaws.com';
  test.each([
    { name: 'with a certificate of nobody known', names: [HOST], known: false, says: /certificate/ },
    {
      name: "with the endpoint's name alone",
      names: [],
      known: true,
      says: /does not match certificate's altnames/,
    },
    { name: "with the region's own name", names: [HOST], known: true, says: undefined },
  ])('$name', async ({ names, known, says }) => {
    const { ca, tls } = localhostTls(...names);
    const { directory, clock, deps, outbound } = world;
    const secure = await startSts({ directory, now: () => clock.now(), tls });
    const config = AwsIamConfig.parse({ accounts: [ACCOUNT], regions: ['eu-west-1'], endpoint: secure.url });
    const request = (asked: OutboundRequest) => outbound.request(known ? { ...asked, ca } : asked);
    const attestor = awsIamAttestor(config, { ...deps, outbound: { ...outbound, request } });
    const attempt = attestAws(world, attestor, iamEvidence(world, web));
    if (says === undefined) await attempt;
    else await expect(attempt).rejects.toThrow(refusal('platform_unavailable', says));
    expect(secure.received).toHaveLength(says === undefined ? 1 : 0);
    await secure.close();
  });
});

test('another kind of endpoint is asked for, signed for and called', async () => {
  const config = AwsIamConfig.parse({ accounts: [ACCOUNT], regions: ['us-east-1'], endpoints: 'fips' });
  const asked: unknown[] = [];
  const outbound = {
    ...world.outbound,
    request: async (request: { url: string; headers?: object }) => {
      asked.push(request.url, { ...request.headers });
      return { status: 200, contentType: 'application/json', body: utf8(String(told({}).body)) };
    },
  };
  const attestor = awsIamAttestor(config, { ...world.deps, outbound });
  await attestAws(world, attestor, iamEvidence(world, web, 'us-east-1'));
  const host = 'sts-fips.us-east-1.amazonaws.com';
  expect(asked).toEqual([`https://${host}`, expect.objectContaining({ host })]);
});

test('C44 no refusal tells the token, the signature or what STS said', async () => {
  const secrets = [web.sessionToken ?? '', web.secretAccessKey];
  const spoilt: Spoilt[] = [
    () => ({ status: 403, body: secrets.join(' ') }),
    () => ({ ...json({ Error: { Code: secrets[0], Message: secrets[0] } }), status: 403 }),
    () => json(`"${secrets[0]}"`),
    () => told({ Arn: secrets[0] }),
    () => told({ UserId: secrets[0] }),
  ];
  for (const spoil of spoilt) {
    world.sts.spoil(spoil);
    const error: unknown = await attest().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'IdentityError' });
    const all = JSON.stringify(error, Object.getOwnPropertyNames(error));
    expect(secrets.filter((secret) => all.includes(secret.slice(0, 40)))).toEqual([]);
  }
});
