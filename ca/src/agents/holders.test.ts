import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { UnexpiredCertificate, UnexpiredQuery } from '../store/store.ts';
import { Acknowledged, type Parts } from './acknowledged.ts';
import { Agents } from './agents.ts';
import { type Awaited, type AwayAgent, behindByPart, Holders, OWN_NODE, unacknowledged } from './holders.ts';

const id = (name: string) => parseSpiffeId(`spiffe://prod.example/${name}`);
const certified = (
  name: string,
  serial: string,
  node = { platform: 'tpm', node: name },
): UnexpiredCertificate => ({
  serial,
  id: id(name),
  identity: `${name}-${serial}`,
  issuer: '40bb',
  node,
});
const clock = new ManualClock(NOW);
let agents: Agents;
let known: UnexpiredCertificate[];
const PAGE = 2;
/** Pages of two, the last to end first. */
const store = {
  certified: async ({ after }: UnexpiredQuery) => {
    const n = after?.n ?? 0;
    const list = known.toReversed().slice(n, n + PAGE);
    return { list, next: n + PAGE < known.length ? { notAfter: 0, n: n + PAGE } : undefined };
  },
  successions: async () => [],
};
let revoked: Revocation[];
const revocations = { sets: { current: () => revocationSet(revoked, 1n), onChange: () => () => {} } };
const holders = () => new Holders({ agents, store, clock, revocations });
/** Revokes certificates by serial. */
const revoke = (...serials: readonly string[]): void => {
  revoked = serials.map((value, number) => ({
    number,
    target: { kind: 'serial', value },
    serials: [],
    reason: 'keyCompromise',
    until: undefined,
  }));
};

async function seen(max?: number) {
  const away: AwayAgent[] = [];
  const look = await holders().look((page) => void away.push(...page), max);
  return { ...look, away };
}

function connect(name: string, policy: bigint): () => void {
  const acknowledged = new Acknowledged();
  acknowledged.sending(9n, { bundle: 1n, policy, revocations: 0n });
  acknowledged.take({ sequence: 9n });
  const agent = { id: id(name), platform: 'tpm', node: name, identity: name, serial: '1', address: 'a' };
  return agents.open(
    { ...agent, version: '1', connectedAt: NOW, certificateNotAfter: after(60), acknowledged },
    Buffer.from(name.padEnd(16)),
  );
}
/** After a wait in which nobody has acknowledged anything. */
const awaited = (wanted: Partial<Parts>): Awaited => ({ wanted, behind: agents.list() });

beforeEach(() => {
  vi.restoreAllMocks();
  agents = new Agents(clock);
  revoked = [];
  known = [
    certified('web', '1'),
    certified('job', '2'),
    certified('job', '3'),
    certified('ca', '4', OWN_NODE),
  ];
});

test('a holder without a stream is away, once, by the certificate that ends last; the CA is not counted', async () => {
  connect('web', 1n);
  const { connected, away } = await seen();
  expect(connected.map((each) => each.id)).toEqual([id('web')]);
  expect(away).toEqual([
    { id: id('job'), identity: 'job-3', serial: '3', platform: 'tpm', node: 'job', revoked: false },
  ]);
});

test('an agent with the same SPIFFE ID on another node is away', async () => {
  known.push(certified('web', '5', { platform: 'tpm', node: 'other' }));
  connect('web', 1n);
  expect((await seen()).away.map(({ serial }) => serial)).toEqual(['5', '3']);
});

test('connected agents without a part, and all that are away, have not acknowledged a change', async () => {
  connect('web', 1n);
  connect('db', 2n);
  const behind = (policy: bigint) => unacknowledged(holders(), awaited({ policy }));
  const names = [`${id('web')} (tpm/web)`];
  const atLeast = false;
  expect(await behind(2n)).toEqual({ connected: 1, names, away: 1, atLeast });
  expect(await behind(1n)).toEqual({ connected: 0, names: [], away: 1, atLeast });
  revoke('1');
  expect(await behind(2n)).toEqual({ connected: 0, names: [], away: 1, atLeast });
  revoke('2', '3');
  expect(await behind(2n)).toEqual({ connected: 1, names, away: 0, atLeast });
});

test('an agent that renews, with two streams, is named once', async () => {
  connect('web', 1n);
  connect('web', 1n);
  const { connected, names } = await unacknowledged(holders(), awaited({ policy: 2n }));
  expect([connected, names]).toEqual([1, [`${id('web')} (tpm/web)`]]);
});

test('an agent that has connected after the change is not named, nor is one that has left', async () => {
  connect('web', 1n);
  const leave = connect('db', 1n);
  const change = awaited({ policy: 2n });
  leave();
  connect('new', 1n);
  const { connected, names } = await unacknowledged(holders(), change);
  expect([connected, names]).toEqual([1, [`${id('web')} (tpm/web)`]]);
});

test('at most ten connected agents are named', async () => {
  for (let n = 10; n < 22; n += 1) connect(`w${n}`, 1n);
  const { connected, names } = await unacknowledged(holders(), awaited({ policy: 2n }));
  expect([connected, names.length, names.at(-1)]).toEqual([12, 10, `${id('w19')} (tpm/w19)`]);
});

test('a revoked holder is shown as revoked; it is also shown by a certificate that is not revoked', async () => {
  connect('web', 1n);
  revoke('1', '3');
  const { connected, away } = await seen();
  expect(connected).toEqual([]);
  expect(away).toMatchObject([
    { serial: '3', revoked: true },
    { serial: '2', revoked: false },
    { serial: '1', revoked: true },
  ]);
  revoke('2', '3');
  expect((await seen()).away).toMatchObject([{ serial: '3', revoked: true }]);
});

test('a look ends at its bound and says that there is more', async () => {
  expect(await seen(2)).toMatchObject({ whole: false, away: [{ serial: '3' }] });
  expect(await seen(3)).toMatchObject({ whole: true, away: [{ serial: '3' }, { serial: '1' }] });
  expect(await unacknowledged(holders(), awaited({}), 2)).toEqual({
    connected: 0,
    names: [],
    away: 1,
    atLeast: true,
  });
});

test('those that ask during a look share the next one, each up to its own bound', async () => {
  const read = vi.spyOn(store, 'certified');
  const [all, told] = [holders(), [] as string[]];
  const seeAs = (name: string) => (page: readonly AwayAgent[]) => void told.push(...page.map(() => name));
  const looks = [all.look(seeAs('a')), all.look(seeAs('b')), all.look(seeAs('c'), 2)];
  const failing = all.look(() => Promise.reject(new Error('seen enough')));
  await expect(failing).rejects.toThrow('seen enough');
  expect((await Promise.all(looks)).map(({ whole }) => whole)).toEqual([true, true, false]);
  expect(told).toEqual(['a', 'a', 'b', 'c', 'b']);
  expect(read).toHaveBeenCalledTimes(4);
});

test('a store that fails ends all that share the look, and the next one is made', async () => {
  const all = holders();
  vi.spyOn(store, 'certified').mockRejectedValueOnce(new Error('no store'));
  await expect(all.look(() => {})).rejects.toThrow('no store');
  expect(await all.look(() => {})).toMatchObject({ whole: true });
});

test('connected agents that are behind are counted for each part', () => {
  connect('web', 1n);
  connect('db', 2n);
  expect(behindByPart(agents, { bundle: 1n, policy: 2n, revocations: 3n })).toEqual({
    bundle: 0,
    policy: 1,
    revocations: 2,
  });
});
