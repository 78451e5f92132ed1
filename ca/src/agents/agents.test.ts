import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Acknowledged } from './acknowledged.ts';
import { Agents, type LiveAgent } from './agents.ts';

const machine = { platform: 'tpm', node: 'ek1' };
const [first, second] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)];
const agentOn = (node = machine): LiveAgent => ({
  ...node,
  id: parseSpiffeId('spiffe://prod.example/machine'),
  identity: 'machine',
  serial: '40',
  address: '127.0.0.1',
  version: 'test',
  connectedAt: NOW,
  certificateNotAfter: after(60),
  acknowledged: new Acknowledged(),
});
const taken = refusal('ek_in_use', /^tpm\/ek1 has a live agent already/);

let clock: ManualClock;
let agents: Agents;
beforeEach(() => {
  clock = new ManualClock(NOW);
  agents = new Agents(clock);
});

test('agents are listed while their stream is open', () => {
  const [one, two] = [agentOn(), agentOn()];
  const [leave] = [agents.open(one, first), agents.open(two, first)];
  expect(agents.list()).toEqual([one, two]);
  leave();
  expect({ list: agents.list(), size: agents.size }).toEqual({ list: [two], size: 1 });
});

test('of a SPIFFE ID the stream that ended last is remembered: where it was, and when it ended', () => {
  const [one, two] = [agentOn(), { ...agentOn(), address: '127.0.0.2' }];
  const leaves = [agents.open(one, first), agents.open(two, first)];
  expect(agents.lastStream(one.id)).toBeUndefined();
  clock.advanceTo(after(5));
  leaves[1]?.();
  expect(agents.lastStream(one.id)).toEqual({ address: '127.0.0.2', endedAt: after(5) });
  clock.advanceTo(after(9));
  leaves[0]?.();
  expect(agents.lastStream(one.id)).toEqual({ address: '127.0.0.1', endedAt: after(9) });
});

test('no more than twenty thousand of them are remembered: those that ended last', () => {
  const idOf = (n: number) => parseSpiffeId(`spiffe://prod.example/job/${n}`);
  for (let n = 0; n <= 20_000; n += 1) agents.open({ ...agentOn(), id: idOf(n) }, first)();
  expect([0, 1, 20_000].map((n) => agents.lastStream(idOf(n)) !== undefined)).toEqual([false, true, true]);
});

describe('a machine’s place', () => {
  test('is one process’s for fifteen seconds after its certificate', () => {
    agents.claim(machine, first);
    agents.claim(machine, first);
    clock.jump(after(14.9));
    expect(() => agents.claim(machine, second)).toThrow(taken);
    expect(() => agents.open(agentOn(), second)).toThrow(
      refusal('ek_in_use', /^tpm\/ek1 is held by another agent process$/),
    );
    clock.jump(after(15));
    agents.claim(machine, second);
  });

  test('I90 is not kept by a claim from before the clock was set back', () => {
    agents.claim(machine, first);
    clock.jump(after(-7200));
    agents.claim(machine, second);
  });

  test('belongs to one process while its streams are open, and is free when the last has ended', () => {
    agents.claim(machine, first);
    const leave = [agents.open(agentOn(), first), agents.open(agentOn(), first)];
    clock.jump(after(1000));
    agents.claim(machine, first);
    clock.jump(after(2000));
    leave[0]?.();
    expect(() => agents.claim(machine, second)).toThrow(taken);
    expect(() => agents.open(agentOn(), second)).toThrow(refusal('ek_in_use', /held by another/));
    leave[1]?.();
    agents.claim(machine, second);
    expect(() => agents.claim(machine, first)).toThrow(taken);
  });

  test('is free at once when the stream of its process has ended, even within the claim', () => {
    agents.claim(machine, first);
    agents.open(agentOn(), first)();
    agents.claim(machine, second);
  });

  test('is that of the stream which a restarted CA finds open', () => {
    const leave = agents.open(agentOn(), first);
    expect(() => agents.claim(machine, second)).toThrow(taken);
    agents.claim(machine, first);
    leave();
    agents.claim(machine, second);
  });

  test('that ran out unused does not keep an older process from its stream', () => {
    agents.claim(machine, second);
    clock.jump(after(16));
    agents.open(agentOn(), first);
  });

  test('is not another machine’s, nor another platform’s', () => {
    agents.claim(machine, first);
    agents.claim({ ...machine, node: 'ek2' }, second);
    agents.claim({ ...machine, platform: 'other' }, second);
  });

  test('is shared if it is not claimed, as by users of one machine', () => {
    const users = { platform: 'unix', node: 'uid/0' };
    agents.open(agentOn(users), first);
    agents.open(agentOn(users), second);
    expect(agents.size).toBe(2);
  });
});

describe('where many machines have come', () => {
  const claimMany = (): void => {
    for (let n = 0; n < 100; n += 1) agents.claim({ ...machine, node: `${n}` }, first);
  };

  test('claims that no stream followed are forgotten when they have run out, and no others', () => {
    agents.claim(machine, first);
    agents.open(agentOn(), first);
    claimMany();
    expect(agents.places).toBe(101);
    clock.jump(after(15));
    agents.claim({ ...machine, node: 'last' }, first);
    expect(agents.places).toBe(2);
    expect(() => agents.claim(machine, second)).toThrow(taken);
    clock.jump(after(16));
    expect(() => agents.claim({ ...machine, node: 'last' }, second)).toThrow(refusal('ek_in_use', /last/));
  });

  test('a claim stands', () => {
    agents.claim(machine, first);
    claimMany();
    expect(() => agents.claim(machine, second)).toThrow(taken);
  });

  test('the place of a machine is forgotten with its last stream', () => {
    const leave = [agents.open(agentOn(), first), agents.open(agentOn(), first)];
    leave[0]?.();
    expect(agents.places).toBe(1);
    leave[1]?.();
    expect(agents.places).toBe(0);
  });

  test('what the evidence of connected ones proved is kept, and of others the newest', () => {
    const prove = (node: string): void => agents.proved({ ...machine, node, attributes: { node } });
    const provedOf = (node: string) => agents.factsOf({ ...machine, node })?.attributes;
    agents.open(agentOn(), first);
    prove(machine.node);
    for (let n = 0; n < 100; n += 1) prove(`${n}`);
    expect([machine.node, '0', '99'].map(provedOf)).toEqual([
      { node: machine.node },
      undefined,
      { node: '99' },
    ]);
  });
});
