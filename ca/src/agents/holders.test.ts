import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { Certified } from '../store/store.ts';
import { Acknowledged } from './acknowledged.ts';
import { Agents } from './agents.ts';
import { behindByPart, holdersOf, OWN_NODE, unacknowledged } from './holders.ts';

const id = (name: string) => parseSpiffeId(`spiffe://prod.example/${name}`);
const certified = (name: string, serial: string, node = { platform: 'tpm', node: name }): Certified => ({
  serial,
  id: id(name),
  identity: `${name}-${serial}`,
  node,
});
const clock = new ManualClock(NOW);
let agents: Agents;
let known: Certified[];
const store = {
  certified: async () => known,
  successions: async () => [],
};
const holders = () => holdersOf({ agents, store, clock });

function connect(name: string, policy: bigint): void {
  const acknowledged = new Acknowledged();
  acknowledged.sending(9n, { bundle: 1n, policy, revocations: 0n });
  acknowledged.take({ sequence: 9n });
  const agent = { id: id(name), platform: 'tpm', node: name, identity: name, serial: '1', address: 'a' };
  agents.open(
    { ...agent, version: '1', connectedAt: NOW, certificateNotAfter: after(60), acknowledged },
    Buffer.from(name.padEnd(16)),
  );
}
beforeEach(() => {
  agents = new Agents(clock);
  known = [
    certified('web', '1'),
    certified('job', '2'),
    certified('job', '3'),
    certified('ca', '4', OWN_NODE),
  ];
});

test('a holder without a stream is away, once, by its newest certificate; the CA is not counted', async () => {
  connect('web', 1n);
  const { connected, away } = await holders();
  expect(connected.map((each) => each.id)).toEqual([id('web')]);
  expect(away).toEqual([{ id: id('job'), identity: 'job-3', serial: '3', platform: 'tpm', node: 'job' }]);
});

test('an agent with the same SPIFFE ID on another node is away', async () => {
  known.push(certified('web', '5', { platform: 'tpm', node: 'other' }));
  connect('web', 1n);
  expect((await holders()).away.map(({ serial }) => serial)).toEqual(['3', '5']);
});

test('connected agents without a part, and all that are away, have not acknowledged a change', async () => {
  connect('web', 1n);
  connect('db', 2n);
  const all = await holders();
  expect(unacknowledged(all, { policy: 2n })).toEqual({ connected: 1, away: 1 });
  expect(unacknowledged(all, { policy: 1n })).toEqual({ connected: 0, away: 1 });
  expect(unacknowledged(all, { policy: 2n }, (agent) => agent.id === id('web'))).toEqual({
    connected: 0,
    away: 1,
  });
  expect(unacknowledged(all, { policy: 2n }, ({ serial }) => serial === '3')).toEqual({
    connected: 1,
    away: 0,
  });
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
