import type { Agent, ListAgentsResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { expect, test } from 'vitest';
import { printAgents, printAway } from './queries.ts';

const agent = (spiffeId: string, acknowledged: Agent['acknowledged']): Agent => ({
  spiffeId,
  address: '127.0.0.1',
  acknowledgedSequence: 0n,
  version: '1',
  serial: '40aa',
  connectedAt: 0n,
  certificateNotAfter: 0n,
  acknowledged,
});

function printed(answer: Partial<ListAgentsResponse>): { readonly out: string; readonly err: string } {
  const out: string[] = [];
  const err: string[] = [];
  const io = { out: (text: string) => void out.push(text), err: (text: string) => void err.push(text) };
  const current = { bundle: 1n, policy: 5n, revocations: 7n };
  printAgents(io, { agents: [], away: [], awayCount: 0n, awayAtLeast: false, current, ...answer });
  return { out: out.join(''), err: err.join('') };
}

test('agents: each row names the parts that are not acknowledged, and the lines below count the agents', () => {
  const agents = [
    agent('spiffe://a/up-to-date', { bundle: 1n, policy: 5n, revocations: 7n }),
    agent('spiffe://a/behind', { bundle: 1n, policy: 4n, revocations: 6n }),
    agent('spiffe://a/new', undefined),
  ];
  const { out, err } = printed({ agents });
  expect(out.split('\n').map((line) => line.split('  ').at(-1)?.trim())).toEqual([
    'NOT ACKNOWLEDGED',
    '-',
    'policy, revocations',
    'bundle, policy, revocations',
    '',
  ]);
  expect(err.split('\n')).toEqual([
    '1 of 3 agents has not acknowledged the bundle in force',
    '2 of 3 agents have not acknowledged the policy in force',
    '2 of 3 agents have not acknowledged the revocations in force',
    '',
  ]);
});

test('agents: nothing is said below the table where every agent has all of it', () => {
  const agents = [agent('spiffe://a/b', { bundle: 1n, policy: 5n, revocations: 7n })];
  expect(printed({ agents }).err).toBe('');
  expect(printed({ agents, awayCount: 2n, awayAtLeast: true }).err).toMatch(/^at least 2 with a certificate/);
  expect(printed({ agents, awayCount: 2n }).err).toMatch(/^2 with a certificate and without a trust stream/);
});

test('agents --away: revoked holders are marked, and not counted as those that are not listed', () => {
  const [out, err]: [string[], string[]] = [[], []];
  const io = { out: (text: string) => void out.push(text), err: (text: string) => void err.push(text) };
  const holder = { spiffeId: 'spiffe://a/b', platform: 'tpm', node: 'n', revoked: false };
  printAway({ has: () => false } as never, io as never, {
    agents: [],
    current: undefined,
    away: [holder, { ...holder, node: 'm', revoked: true }],
    awayCount: 3n,
    awayAtLeast: false,
  });
  expect(out.join('').split('\n')).toEqual([
    'SPIFFE ID     NODE   STATE',
    'spiffe://a/b  tpm/n  -',
    'spiffe://a/b  tpm/m  revoked',
    '',
  ]);
  expect(err.join('')).toBe('2 more are not listed\n');
});
