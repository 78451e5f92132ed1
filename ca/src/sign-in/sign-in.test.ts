/** The CA's half of a sign-in, over a real store and a strict stand-in of an issuer. */
import { hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { hasMark, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { certifiedCaller, makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { type PersonIssuer, startPersonIssuer } from '../../../test/kit/oidc/person-issuer.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { keySetFrom } from '../tokens/jwks.ts';
import { nonceFor } from './binding.ts';
import { OperatorsConfig } from './config.ts';
import { personOf } from './sessions.ts';
import { signIn } from './sign-in.ts';

let rpc: Rpc;
let issuer: PersonIssuer;
const outbound = openOutbound();
beforeAll(async () => {
  issuer = await startPersonIssuer(() => rpc.clock.now());
});
afterAll(async () => {
  outbound.close();
  await issuer.close();
});
beforeEach(async () => {
  rpc = await makeRpc();
  issuer.person = { groups: ['sre'] };
});

const rules = [
  { claim: ['groups'], values: ['sre'], role: 'operator' },
  { claim: ['realm', 'roles'], values: ['audit'], role: 'reader' },
  { claim: ['groups'], values: ['pay'], role: 'owner', servers: ['payments', 'refunds'] },
] as const;

const deps = () => {
  const config = OperatorsConfig.parse({ issuer: issuer.url, clientId: 'chancery', roles: rules });
  const keys = keySetFrom({ discover: issuer.url }, { outbound, clock: rpc.clock, log: silentLog });
  const made = { ...rpc, config, keys };
  return made;
};
const request = async (nonce?: string) => {
  const signer = signerOf(generateKey());
  const idToken = issuer.token(nonce ?? nonceFor(rpc.trustDomain, signer.spki));
  return { idToken, csr: await writeCsr(signer) };
};
const person = async (signed: Awaited<ReturnType<typeof signIn>>) => {
  const svid = verifySvid(signed.chain, rpc.authorities.bundle.current(), rpc.clock.now());
  return { svid, find: () => personOf(svid, rpc) };
};

test('gives a marked certificate of an hour, and the log has subject and issuer', async () => {
  const signed = await signIn(await request(), deps());
  const { svid, find } = await person(signed);
  expect(svid.id).toMatch(/^spiffe:\/\/prod\.example\/chancery\/operator\/[0-9a-f]{32}$/);
  expect(hasMark(svid, 'operator')).toBe(true);
  expect(hasMark(svid, 'ca')).toBe(false);
  expect(svid.notAfter.getTime() - rpc.clock.now().getTime()).toBeLessThanOrEqual(3_600_000);
  const by = `ada of ${issuer.url} (called "ada.l")`;
  expect(await find()).toMatchObject({ by, role: 'operator', servers: [] });
  const events = (await rpc.store.events(0, 100)).map(({ event }) => event);
  expect(events.find(({ type }) => type === 'operator.signedIn')).toMatchObject({ by, id: svid.id });
  expect(events.map(({ type }) => type).slice(-2)).toEqual(['operator.signedIn', 'svid.issuing']);
});

test('never ends later than 12 hours after the person showed who they are', async () => {
  const authTime = addSeconds(rpc.clock.now(), -12 * 3600 + 600);
  issuer.person = { groups: ['sre'], auth_time: Math.floor(authTime.getTime() / 1000) };
  const { notAfter } = await signIn(await request(), deps());
  expect(notAfter.getTime() - rpc.clock.now().getTime()).toBeLessThanOrEqual(600_000);
});

test.each<[string, object, string, readonly string[]]>([
  ['an operator before a reader', { groups: ['sre'], realm: { roles: ['audit'] } }, 'operator', []],
  ['a reader before an owner', { groups: ['pay'], realm: { roles: ['audit'] } }, 'reader', []],
  ['an owner of servers', { groups: 'pay' }, 'owner', ['payments', 'refunds']],
])('claims give the most that the rules say: %s', async (_, claims, role, servers) => {
  issuer.person = { ...claims };
  expect(await signIn(await request(), deps())).toMatchObject({ role, servers });
});

describe('I152 is refused, and nothing is issued:', () => {
  const seconds = (ago: number) => Math.floor(rpc.clock.now().getTime() / 1000) - ago;
  test.each<[string, () => object, Parameters<typeof refusal>]>([
    [
      'a token for another key',
      () => ({ nonce: 'x'.repeat(43) }),
      ['claim_rule', /^nonce is "x+", expected/],
    ],
    [
      'a token without a nonce',
      () => ({ nonce: undefined }),
      ['claim_rule', /^nonce is missing: the issuer/],
    ],
    ['a token for another client', () => ({ aud: 'other' }), ['jwt_aud', /^aud is "other"/]],
    ['a token for two', () => ({ aud: ['chancery', 'other'] }), ['jwt_aud', /^aud is/]],
    ['a token that another client asked for', () => ({ azp: 'other' }), ['claim_rule', /^azp is "other"/]],
    ['a token of another issuer', () => ({ iss: 'https://evil.example' }), ['issuer_unknown', /^iss is/]],
    [
      'a token of an hour ago',
      () => ({ iat: seconds(3600), exp: seconds(-60) }),
      ['jwt_time', /issued 3600 s ago/],
    ],
    ['a token that has ended', () => ({ iat: seconds(90), exp: seconds(60) }), ['jwt_time', /^it expired/]],
    ['no auth_time', () => ({ auth_time: undefined }), ['claim_rule', /^auth_time is missing/]],
    ['auth_time to come', () => ({ auth_time: seconds(-120) }), ['jwt_time', /in the future/]],
    ['auth_time of yesterday', () => ({ auth_time: seconds(43_201) }), ['jwt_time', /more than 12 h ago/]],
    [
      'a person without a rule',
      () => ({ groups: ['SRE', 'sre2'] }),
      ['operator_role', /^no rule of operators/],
    ],
    ['a subject with a line end', () => ({ sub: 'ada\nroot' }), ['claim_rule', /^sub has/]],
  ])('%s', async (_, claims, refused) => {
    issuer.person = { groups: ['sre'], ...claims() };
    await expect(signIn(await request(), deps())).rejects.toThrow(refusal(...refused));
    expect(await rpc.store.issued({ limit: 9 })).toEqual([]);
  });

  test('a token a second time, also with its own key', async () => {
    const twice = await request();
    const all = deps();
    await signIn(twice, all);
    await expect(signIn(twice, all)).rejects.toThrow(refusal('jti_replay', /was used/));
  });

  test('I302 a token a second time, with another signature of the issuer', async () => {
    const all = { ...deps(), config: { ...deps().config, algorithms: ['ES256' as const] } };
    const signer = signerOf(generateKey());
    const [csr, nonce] = [await writeCsr(signer), nonceFor(rpc.trustDomain, signer.spki)];
    // ECDSA draws each signature anew.
    const [once, again] = [issuer.token(nonce, 'ES256'), issuer.token(nonce, 'ES256')];
    expect([once === again, once.split('.')[1] === again.split('.')[1]]).toEqual([false, true]);
    await signIn({ idToken: once, csr }, all);
    await expect(signIn({ idToken: again, csr }, all)).rejects.toThrow(refusal('jti_replay', /was used/));
  });

  test('a person whose SPIFFE ID is revoked', async () => {
    const { id } = await signIn(await request(), deps());
    const target = { kind: 'id', value: id } as const;
    await rpc.revocations.revoke({ target, reason: 'privilegeWithdrawn', seconds: 0, by: 'root' });
    await expect(signIn(await request(), deps())).rejects.toThrow(
      refusal('revoked_identity', /revocation 1/),
    );
  });
});

test('the name is quoted in the log, whatever a person calls themselves', async () => {
  issuer.person = { groups: ['sre'], preferred_username: 'x") of https://evil.example (called "root' };
  const { find } = await person(await signIn(await request(), deps()));
  expect((await find()).by).toBe(
    `ada of ${issuer.url} (called "x\\") of https://evil.example (called \\"root")`,
  );
});

describe('I153 a certificate that counts no more:', () => {
  test('revoked by its SPIFFE ID or its serial', async () => {
    const signed = await signIn(await request(), deps());
    const { find } = await person(signed);
    const target = { kind: 'serial', value: signed.serial } as const;
    await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'root' });
    await expect(find()).rejects.toThrow(refusal('revoked_peer', /revocation 1/));
  });

  test('of a workload, which has no sign-in', async () => {
    const { issued } = await certifiedCaller(rpc);
    const svid = verifySvid(issued.chain, rpc.authorities.bundle.current(), rpc.clock.now());
    await expect(personOf(svid, rpc)).rejects.toThrow(refusal('operator_role', /knows no sign-in/));
  });

  test('of a key that another sign-in of the person made', async () => {
    const first = await person(await signIn(await request(), deps()));
    const second = await person(await signIn(await request(), deps()));
    expect(hex(first.svid.certificate.serial)).not.toBe(hex(second.svid.certificate.serial));
    // Both count: one person may work on two machines.
    expect(await first.find()).toMatchObject({ role: 'operator' });
    expect(await second.find()).toMatchObject({ role: 'operator' });
  });
});

test.each([
  'https://login.microsoftonline.com/common/v2.0',
  'https://login.microsoftonline.com/organizations/v2.0',
  'http://sso.example',
])('I154 the config refuses the issuer %s', (url) => {
  const read = OperatorsConfig.safeParse({ issuer: url, clientId: 'c', roles: rules });
  expect(read.success).toBe(false);
});

test.each(['email', 'upn', 'preferred_username', 'name'])(
  'I273 the config gives no role by the claim %s',
  (claim) => {
    const of = (path: readonly string[]) =>
      OperatorsConfig.safeParse({
        ...{ issuer: 'https://sso.example', clientId: 'c' },
        roles: [{ claim: path, values: ['ada@corp.example'], role: 'operator' }],
      }).success;
    expect(of([claim])).toBe(false);
    expect(of(['realm', claim])).toBe(false);
    expect(of([claim, 'groups'])).toBe(true);
  },
);
