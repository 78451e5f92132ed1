/** What is remembered of sign-ins, over a real store. */
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test } from 'vitest';
import { proven } from '../../../test/kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { after } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { issue } from '../authority/issue.ts';
import type { Role } from '../operator/roles.ts';
import { nameOf, operatorId } from './person.ts';
import { nodeOf, personOf, remember } from './sessions.ts';

const ADA = { iss: 'https://sso.example', sub: 'ada' };
const name = nameOf(ADA);

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});

const remembered = async (key: string, role: Role = 'operator', seconds = 3600) => {
  const now = rpc.clock.now().getTime() / 1000;
  const session = { key, called: '', role, servers: [], authTime: now, until: now + seconds };
  await remember({ ...ADA, name }, session, rpc);
};
const keysKept = async (): Promise<readonly string[]> => {
  const { sessions } = JSON.parse((await rpc.store.nodeState(nodeOf(name))) ?? '{}');
  return sessions.map(({ key }: { readonly key: string }) => key);
};

/** A certificate of Ada's and how she signed in for it. */
async function signedIn(role: Role) {
  const [id, key] = [operatorId(rpc.trustDomain, name), await proven()];
  await remembered(Buffer.from(key.sha256).toString('hex'), role);
  const order = { ...nodeOf(name), identity: 'operators', ttlSeconds: 3600, dnsNames: [] };
  const { chain } = await issue({ ...order, id, key, role: 'operator' }, rpc);
  return verifySvid(chain, rpc.authorities.bundle.current(), rpc.clock.now());
}

test('I212 each certificate has the role of its own sign-in, not of another one of that person', async () => {
  const [first, second] = [await signedIn('operator'), await signedIn('reader')];
  expect(await personOf(first, rpc)).toMatchObject({ role: 'operator' });
  expect(await personOf(second, rpc)).toMatchObject({ role: 'reader' });
});

test('I212 a certificate with the serial of a sign-in and another name or key is not on record', async () => {
  const [svid, other] = [await signedIn('operator'), await signedIn('operator')];
  const notOnRecord = refusal('operator_role', /is not on record$/);
  const id = parseSpiffeId(`spiffe://${rpc.trustDomain}/chancery/operator/bob`);
  await expect(personOf({ ...svid, id }, rpc)).rejects.toThrow(notOnRecord);
  await expect(personOf({ ...svid, certificate: other.certificate }, rpc)).rejects.toThrow(notOnRecord);
  await expect(personOf({ ...svid, serial: '40ff' }, rpc)).rejects.toThrow(notOnRecord);
});

test('sessions that have ended are forgotten, and the oldest beyond 32', async () => {
  await remembered('short', 'operator', 10);
  for (let n = 0; n < 33; n += 1) await remembered(`${n}`);
  expect(await keysKept()).toEqual(Array.from({ length: 32 }, (_, n) => `${n + 1}`));
  rpc.clock.jump(after(3600));
  await remembered('late');
  expect(await keysKept()).toEqual(['late']);
});
