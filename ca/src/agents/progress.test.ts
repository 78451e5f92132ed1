import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { Acknowledged } from './acknowledged.ts';
import { Agents, type LiveAgent } from './agents.ts';
import { whenAcknowledged } from './progress.ts';

const parts = { bundle: 1n, policy: 2n, revocations: 0n };
let clock: ManualClock;
let agents: Agents;
beforeEach(() => {
  clock = new ManualClock(NOW);
  agents = new Agents(clock);
});

function connect(name: string): { readonly agent: LiveAgent; readonly leave: () => void } {
  const acknowledged = new Acknowledged();
  acknowledged.sending(9n, parts);
  const id = parseSpiffeId(`spiffe://prod.example/${name}`);
  const agent: LiveAgent = {
    id,
    platform: 'tpm',
    node: name,
    identity: name,
    serial: '1',
    address: 'a',
    version: '1',
    connectedAt: NOW,
    certificateNotAfter: after(60),
    acknowledged,
  };
  return { agent, leave: agents.open(agent, Buffer.from(name.padEnd(16))) };
}
/** Whether the wait has ended. */
function waiting() {
  const state = { ended: false };
  const ended = whenAcknowledged(agents, { policy: 2n }, clock).then((behind) => {
    state.ended = true;
    return behind;
  });
  return { state, ended };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('without connected agents, and when all have it, nobody waits', async () => {
  expect(await waiting().ended).toEqual([]);
  agents.acknowledge(connect('a').agent, { sequence: 9n });
  await waiting().ended;
  expect(clock.sleeping).toBe(0);
});

test('the wait ends when the last agent has acknowledged it or has left', async () => {
  const [a, b, c] = [connect('a'), connect('b'), connect('c')];
  const { state, ended } = waiting();
  agents.acknowledge(a.agent, { sequence: 9n });
  b.leave();
  // Of another part only.
  agents.acknowledge(c.agent, { sequence: 0n, parts: { bundle: 1n, policy: 0n, revocations: 0n } });
  await turn();
  expect(state.ended).toBe(false);
  connect('d');
  agents.acknowledge(c.agent, { sequence: 9n });
  expect(await ended).toEqual([]);
  expect(clock.now()).toEqual(NOW);
});

test('the wait for an agent that says nothing ends after a second, and nobody listens any more', async () => {
  const { agent } = connect('a');
  const stop = vi.fn();
  vi.spyOn(agents, 'onProgress').mockReturnValue(stop);
  const { state, ended } = waiting();
  clock.advanceTo(after(0.9));
  await turn();
  expect(state.ended).toBe(false);
  connect('b');
  clock.advanceTo(after(1));
  expect(await ended).toEqual([agent]);
  expect([stop.mock.calls.length, clock.sleeping]).toEqual([1, 0]);
});
