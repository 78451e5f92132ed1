import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { compileRate, type Demand } from '@chancery/shared/policy/rate/rate.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { OwnCounts } from './counts.ts';

const caller = parseSpiffeId('spiffe://prod.example/a');
const other = parseSpiffeId('spiffe://prod.example/b');
const demand = (text: string, changes: Partial<Demand> = {}): Demand => ({
  ...{ server: 'notes', rule: 'r', caller, tool: undefined, rate: compileRate(text) },
  ...changes,
});

function counts({ rates = 1, places = 1 } = {}) {
  const state = { nowMs: 0, rates, places };
  const own = new OwnCounts({
    ofRates: () => state.rates,
    ofPlaces: () => state.places,
    monotonic: () => state.nowMs,
  });
  /** How many of `times` pass. */
  const pass = (times: number, ...demands: readonly Demand[]): number =>
    Array.from({ length: times }, () => own.spend(demands)).filter((wait) => wait === undefined).length;
  return { own, state, pass };
}

describe('rates', () => {
  test('a use is within all of its rates, or counts against none', () => {
    const { own, pass } = counts();
    const [all, tool] = [demand('60/m'), demand('20/m', { tool: 'echo' })];
    expect(pass(9, all, tool)).toBe(2);
    expect(own.spend([all, tool])).toEqual({ demand: tool, waitMs: 3_000 });
    expect(pass(9, all)).toBe(4);
  });
  test('the wait is the longest one', () => {
    const { own, pass } = counts();
    const [fast, late] = [demand('10/s'), demand('10/h', { tool: 'echo' })];
    expect([pass(9, fast), pass(9, late)]).toEqual([1, 1]);
    expect(own.spend([fast, late])?.demand).toBe(late);
    expect(own.spend([late, fast])?.demand).toBe(late);
  });
  test.each<[string, Partial<Demand>]>([
    ['server', { server: 'mail' }],
    ['rule', { rule: 's' }],
    ['caller', { caller: other }],
    ['tool', { tool: 'echo' }],
  ])('each %s is counted by itself', (_what, changes) => {
    const { pass } = counts();
    expect([pass(9, demand('60/m')), pass(9, demand('60/m', changes)), pass(9, demand('60/m'))]).toEqual([
      6, 6, 0,
    ]);
  });
  test('the part of each of three is a third, and another part counts at once', () => {
    const { pass, state } = counts({ rates: 3 });
    expect(pass(99, demand('60/m'))).toBe(2);
    state.nowMs += 60_000;
    expect(pass(99, demand('60/m'))).toBe(2);
    state.nowMs += 3_000;
    expect(pass(99, demand('60/m'))).toBe(1);
    state.rates = 1;
    state.nowMs += 5_000;
    expect(pass(99, demand('60/m'))).toBe(1);
  });
  test('each part has one call at once', () => {
    const { pass } = counts({ rates: 3 });
    expect(pass(9, demand('1/h'))).toBe(1);
  });
});

describe('places', () => {
  const limits = { max: 4, maxPerCaller: 2 };
  const refused = (own: OwnCounts, who = caller, server = 'notes') => {
    try {
      own.ensurePlace(server, who, limits);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : undefined;
    }
  };
  test('each caller has its own, within those of the server, and gives each back once', () => {
    const { own } = counts();
    const [first, second] = [own.hold('notes', caller), own.hold('notes', caller)];
    expect(refused(own)).toBe(
      `${caller} has 2 of at most 2 sessions here: end one (DELETE), or wait until one ends unused`,
    );
    expect([refused(own, other), refused(own, caller, 'mail')]).toEqual([undefined, undefined]);
    first();
    first();
    expect(refused(own)).toBeUndefined();
    own.hold('notes', caller);
    expect(refused(own)).toMatch(/has 2 of at most 2/);
    for (let each = 0; each < 2; each += 1) own.hold('notes', parseSpiffeId(`spiffe://prod.example/${each}`));
    expect(refused(own, other)).toMatch(/^all 4 sessions of this gateway are in use, 0 of them by/);
    second();
    expect(refused(own, other)).toBeUndefined();
  });
  test('a process has its part of them', () => {
    const { own } = counts({ places: 2 });
    own.hold('notes', caller);
    expect(refused(own)).toMatch(/has 1 of at most 1/);
    own.hold('notes', other);
    expect(refused(own, parseSpiffeId('spiffe://prod.example/c'))).toMatch(/^all 2 sessions/);
  });
});

/** A process that uses what it can until the end of its time. Prints how many calls passed, and sessions. */
const PROCESS = `
  const { OwnCounts } = await import(process.env.COUNTS);
  const own = new OwnCounts({ ofRates: () => 2, ofPlaces: () => 2, monotonic: () => performance.now() });
  const rate = { perSecond: 100, burst: 20, text: '100/s' };
  const caller = 'spiffe://prod.example/a';
  const demand = { server: 'notes', rule: 'r', caller, tool: undefined, rate };
  const begun = performance.now();
  let calls = 0, sessions = 0;
  while (performance.now() - begun < 2000) if (own.spend([demand]) === undefined) calls += 1;
  try {
    for (;; sessions += 1) {
      own.ensurePlace('notes', caller, { max: 10, maxPerCaller: 6 });
      own.hold('notes', caller);
    }
  } catch {}
  console.log(JSON.stringify({ calls, sessions, ms: performance.now() - begun }));
`;

test('two processes let pass together what one would', async () => {
  const env = { ...process.env, COUNTS: new URL('counts.ts', import.meta.url).href };
  const run = async (): Promise<{ calls: number; sessions: number; ms: number }> => {
    const args = ['--input-type=module', '--eval', PROCESS];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: 60_000 });
    return JSON.parse(stdout);
  };
  const ran = await Promise.all([run(), run()]);
  const calls = ran.reduce((sum, each) => sum + each.calls, 0);
  const longest = Math.max(...ran.map(({ ms }) => ms));
  expect(calls).toBeLessThanOrEqual(20 + (100 * longest) / 1000);
  expect(calls).toBeGreaterThan(20 + 100);
  expect(ran.map(({ sessions }) => sessions)).toEqual([3, 3]);
}, 120_000);
