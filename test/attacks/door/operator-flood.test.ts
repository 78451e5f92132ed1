/** I210: an operator who floods the CA. What others wait for is counted in calls, not in time. */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { OWN_NODE } from '@chancery/ca/agents/holders.ts';
import { issue } from '@chancery/ca/authority/issue.ts';
import { PersonShares } from '@chancery/ca/door/person-shares.ts';
import type { Person } from '@chancery/ca/operator/roles.ts';
import type { Asker } from '@chancery/ca/operator/verb.ts';
import { askerOf, personOf } from '@chancery/ca/rpc/caller.ts';
import { findPerson, remember } from '@chancery/ca/sign-in/sessions.ts';
import { openSqliteThread } from '@chancery/ca/store/sqlite/sqlite.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import { certifiedCaller, makeRpc, type Rpc } from '../../kit/ca/rpc.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const idOf = (name: string) => parseSpiffeId(`spiffe://prod.example/chancery/operator/${name}`);
const [ADA, BOB] = [idOf('ada'), idOf('bob')];
const WEB = parseSpiffeId('spiffe://prod.example/web');

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});

const signedIn = (id: Person['id'], role: Person['role'] = 'operator'): Asker => ({
  address: '10.0.0.2',
  person: Object.assign(
    async () => ({ id, peer: { id }, by: id, role, servers: [], authTime: rpc.clock.now() }),
    { id },
  ),
});
const root: Asker = { address: 'admin', local: { uid: 0, ensureStillThere: () => {} } };

const ALL = { words: [], text: '', decision: undefined, since: 0, until: Number.MAX_SAFE_INTEGER };
const query = (asker: Asker) =>
  rpc.operator.audit(asker)({ ...ALL, place: undefined, backwards: false, limit: 9 });
const revoke = (asker: Asker, dryRun = false) =>
  rpc.operator.revoke(asker)({
    ...{ kind: 'id', value: WEB, force: false, reason: 'keyCompromise', seconds: 0, dryRun },
  });

/** Searches that are held: they say how many are under way, and end when they are let go. */
function heldSearches() {
  const waiting: (() => void)[] = [];
  const search = rpc.store.search.bind(rpc.store);
  vi.spyOn(rpc.store, 'search').mockImplementation(async (asked) => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return search(asked);
  });
  return waiting;
}

describe('I210 of one operator who asks 500 questions at once', () => {
  test('two are under way and sixteen wait; the others are refused, and nothing else waits', async () => {
    const held = heldSearches();
    const flood = Array.from({ length: 500 }, () => query(signedIn(ADA)));
    const settled = Promise.allSettled(flood);
    await vi.waitFor(() => expect(held).toHaveLength(2));
    // Another operator, root, a change of the same person and an issuance pass meanwhile.
    const bob = query(signedIn(BOB));
    await vi.waitFor(() => expect(held).toHaveLength(3));
    held.pop()?.();
    expect((await bob).found.length).toBeGreaterThan(0);
    const asked = query(root);
    await vi.waitFor(() => expect(held).toHaveLength(3));
    held.pop()?.();
    await asked;
    await certifiedCaller(rpc);
    await revoke(signedIn(ADA));
    expect(held).toHaveLength(2);
    // Those that wait come one by one, as others end.
    let answered = 0;
    while (held.length > 0) {
      held.shift()?.();
      answered += 1;
      await setImmediate();
      expect(held.length).toBeLessThanOrEqual(2);
    }
    expect(answered).toBe(18);
    const refused = (await settled).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(482);
    await expect(flood.at(-1)).rejects.toThrow(refusal('rate', /^16 calls of \S+\/ada wait until others/));
    expect(rpc.shares.size).toBe(0);
  });

  test('and goes on asking, what others ask waits for a few of the flood', async () => {
    const folder = makeFolder();
    // The database on its thread, as a serving CA has it: calls wait for each other there.
    const store = await openSqliteThread(join(folder, 'ca.db'), rpc.clock);
    rpc = await makeRpc([], store);
    let [answers, going] = [0, true];
    const flood = Promise.all(
      Array.from({ length: 500 }, async () => {
        while (going) {
          await query(signedIn(ADA)).then(
            () => (answers += 1),
            () => {},
          );
          // As over the network: the next one comes later than what others have asked meanwhile.
          await setImmediate();
        }
      }),
    );
    await vi.waitFor(() => expect(answers).toBeGreaterThan(18));
    const ratios: number[] = [];
    for (let n = 0; n < 10; n += 1) {
      const before = answers;
      await query(signedIn(BOB));
      await revoke(root, true);
      await certifiedCaller(rpc, 60 + n);
      ratios.push(answers - before);
    }
    going = false;
    await flood;
    await store.close();
    removeFolder(folder);
    // Of hundreds, some for each of the few calls of the database that these three make.
    expect(Math.max(...ratios)).toBeLessThanOrEqual(30);
  });
});

test('I210 changes have another share: four at once, dry runs and large sets too', async () => {
  let reading = 0;
  const gate = Promise.withResolvers<never>();
  const read = (): Promise<never> => {
    reading += 1;
    return gate.promise;
  };
  const flood = Array.from({ length: 30 }, () => rpc.operator.apply(signedIn(ADA)).of(read));
  const settled = Promise.allSettled(flood);
  await vi.waitFor(() => expect(reading).toBe(4));
  await expect(rpc.operator.apply(signedIn(ADA)).of(read)).rejects.toThrow(refusal('rate', /wait/));
  // Nothing of a set is read for a caller that waits, or has not the role.
  await expect(rpc.operator.apply(signedIn(BOB, 'reader')).of(read)).rejects.toThrow(
    refusal('operator_role', /has the role reader/),
  );
  expect(reading).toBe(4);
  await query(signedIn(ADA));
  await revoke(signedIn(BOB));
  gate.reject(new Error('the caller left'));
  await settled;
  expect(rpc.shares.size).toBe(0);
});

test('I210 a share is given on when a call fails, and forgotten with the last one', async () => {
  const shares = new PersonShares();
  const failing = Array.from({ length: 10 }, () =>
    shares.run('asks', ADA, () => Promise.reject(new Error('no'))),
  );
  expect(shares.size).toBe(1);
  for (const each of failing) await expect(each).rejects.toThrow('no');
  expect(await shares.run('asks', ADA, async () => 1)).toBe(1);
  expect(shares.size).toBe(0);
});

/** A certificate as a sign-in gives it. */
async function operatorChain(): Promise<readonly Uint8Array[]> {
  const order = { platform: OWN_NODE.platform, node: 'operator/ada', identity: 'operators', ttlSeconds: 60 };
  const key = await proven();
  const { chain } = await issue({ ...order, id: ADA, key, dnsNames: [], role: 'operator' }, rpc);
  const about = { called: 'ada', role: 'operator', servers: [], authTime: 0, until: 9e9 } as const;
  const session = { ...about, key: hash('sha256', key.spki, 'hex') };
  await remember({ iss: 'https://id.example', sub: 'ada', name: 'ada' }, session, rpc);
  return chain;
}

test('I248 a stolen certificate that is revoked takes nothing from the share of its person', async () => {
  const { caller } = await certifiedCaller(rpc);
  const askers = [await operatorChain(), await operatorChain()].map((chain) => {
    const svid = (now: Date) => verifySvid(chain, rpc.authorities.bundle.current(), now);
    const person = () => personOf({ ...caller, svid }, rpc.clock.now(), (shown) => findPerson(shown, rpc));
    return { serial: svid(rpc.clock.now()).serial, asker: () => askerOf({ ...caller, svid, person }) };
  });
  const [stolen, own] = askers;
  if (stolen === undefined || own === undefined) throw new Error('no certificates');
  await revoke(own.asker());
  const target = { kind: 'serial', value: stolen.serial } as const;
  await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'the test' });
  const flood = Array.from({ length: 500 }, async () => revoke(stolen.asker()));
  const settled = Promise.allSettled(flood);
  await revoke(own.asker(), true);
  await settled;
  await expect(flood.at(-1)).rejects.toThrow(refusal('revoked_peer', /./));
});

test('I210 the door gives the name of the certificate, by which shares are counted', async () => {
  const { caller } = await certifiedCaller(rpc);
  expect(personOf(caller, rpc.clock.now(), () => () => Promise.reject(new Error('no')))).toBeUndefined();
  const chain = await operatorChain();
  const svid = (now: Date) => verifySvid(chain, rpc.authorities.bundle.current(), now);
  const person = personOf({ ...caller, svid }, rpc.clock.now(), () => () => Promise.reject(new Error('no')));
  expect(person?.id).toBe(ADA);
});
