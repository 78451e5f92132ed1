/** What cannot be taken back is done with --yes alone: `release`, and the step that removes a JWT key or a root. */

import { release } from '@chancery/ca/cli/review/release.ts';
import { rotate } from '@chancery/ca/cli/rotation/rotate.ts';
import type { Command, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { refusal } from '../../kit/refusal.ts';

type Called = { readonly method: string; readonly request: Readonly<Record<string, unknown>> };
const { calls, at } = vi.hoisted(() => ({ calls: [] as Called[], at: { stage: 'retiring' } }));
vi.mock('@chancery/ca/cli/operator/admin.ts', () => ({
  callOperator: async (_: unknown, pick: (client: object) => string, request: Called['request']) => {
    const method = pick(new Proxy({}, { get: (__, name) => name }));
    calls.push({ method, request });
    const empty = [
      'roots',
      'waits',
      'stragglers',
      'unheard',
      'chained',
      'above',
      'requests',
      'leftBehind',
      'warnings',
    ];
    const lists = Object.fromEntries(empty.map((name) => [name, []]));
    return { ...lists, ...at, kind: 'jwt', next: 'remove', made: '', endedAt: 0n, state: 'vm a' };
  },
}));
beforeEach(() => {
  calls.length = 0;
  at.stage = 'retiring';
});

async function run(command: Command, positionals: readonly string[], ...flags: readonly string[]) {
  const out: string[] = [];
  const given = { positionals, has: (name: string) => flags.includes(name), texts: () => [] };
  const text = (name: string) => (name === 'reason' && command === release ? 'a drill' : undefined);
  const io = { out: (each: string) => void out.push(each), err: () => {}, columns: 80 };
  await command.run({ ...given, text } as unknown as Invocation, io as unknown as Io);
  return out.join('');
}
/** Of the calls that may change something, whether each was a dry run. */
const dryRuns = () => calls.flatMap(({ request }) => ('dryRun' in request ? [request['dryRun']] : []));

describe.each<[string, Command, readonly string[], Parameters<typeof refusal>]>([
  ['release', release, ['azure/a'], ['node_state', /^nothing was changed: .* so it needs --yes$/]],
  ['rotate jwt next', rotate, ['jwt', 'next'], ['rotation', /removes the JWT key that retires.*Give --yes$/]],
  ['rotate next', rotate, ['next'], ['rotation', /removes the root that retires.* then give --yes$/]],
])('I304 %s', (_, command, words, refused) => {
  test('without --yes asks for it, after what the CA says to a dry run', async () => {
    await expect(run(command, words)).rejects.toThrow(refusal(...refused));
    expect(dryRuns()).toEqual([true]);
  });

  test('with --yes does it, unless it is a dry run', async () => {
    await run(command, words, 'yes');
    await run(command, words, 'dry-run');
    await run(command, words, 'yes', 'dry-run');
    expect(dryRuns()).toEqual([false, true, true]);
  });
});

test('a step of the JWT key that can be taken back needs no --yes, and one that cannot is named with it', async () => {
  at.stage = 'published';
  expect(await run(rotate, ['jwt', 'next'])).toMatch(/^next: {2}`chancery-ca rotate jwt next` /m);
  expect(dryRuns()).toEqual([false]);
  at.stage = 'retiring';
  expect(await run(rotate, ['jwt', 'status'])).toMatch(/^next: {2}`chancery-ca rotate jwt next --yes` /m);
});
