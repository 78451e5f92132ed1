import { clockOf } from '@chancery/shared/ground/clock.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { countsAlone } from '../../../../test/kit/mcp/world/counts.ts';
import { addPending, ensureNew, type Session, Sessions } from './sessions.ts';

const a = parseSpiffeId('spiffe://prod.example/a');
const b = parseSpiffeId('spiffe://prod.example/b');
const asked = (requestId: number) => ({
  recordId: 'x',
  requestId,
  method: 'ping',
  what: undefined,
  startedMs: 0,
});

/** Shows the certificate of this serial. */
const as = (id: typeof a, serial = '40') => ({ id, serial, attested: NOT_ATTESTED });

function sessions(max: number, maxPerCaller = max) {
  const ended: [session: Session, why: string, atServer: boolean][] = [];
  const sleepers: (() => void)[] = [];
  let nowMs = 0;
  const clock = clockOf({
    wall: () => nowMs,
    monotonic: () => nowMs,
    sleep: () => new Promise<void>((resolve) => sleepers.push(resolve)),
  });
  /** Lets the clock jump by a minute, `times` times. */
  const minutes = async (times: number): Promise<void> => {
    for (let each = 0; each < times; each += 1) {
      nowMs += 60_000;
      for (const wake of sleepers.splice(0)) wake();
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    }
  };
  const table = new Sessions({
    server: 'notes',
    counts: countsAlone(),
    limits: { max, maxPerCaller, idleSeconds: 600 },
    clock,
    onEnd: (...end) => ended.push(end),
  });
  return { ended, table, minutes };
}

test('a session is found by its caller only, until it is closed', () => {
  const { table, ended } = sessions(8);
  const session = table.open(as(a), 'up', new Map());
  expect(table.find(session.id, as(a))).toBe(session);
  for (const [id, caller] of [
    [session.id, b],
    ['other', a],
  ] as const)
    expect(() => table.find(id, as(caller))).toThrow(expect.objectContaining({ code: 'mcp_session' }));
  table.close(session, 'its client ended it');
  table.close(session, 'again');
  expect(() => table.find(session.id, as(a))).toThrow('no such session');
  expect(ended).toEqual([[session, 'its client ended it', false]]);
});

test('M91 a place that is reserved counts as a session, until it is freed', () => {
  const { table } = sessions(3, 2);
  const [, free] = [table.reserve(a), table.reserve(a)];
  expect(() => table.ensureRoom(a)).toThrow(`${a} has 2 of at most 2 sessions here`);
  table.ensureRoom(b);
  table.reserve(b);
  expect(() => table.ensureRoom(b)).toThrow('all 3 sessions of this gateway are in use, 1 of them');
  free?.();
  free?.();
  table.ensureRoom(a);
});

test('a session between two requests keeps its place, and a new one is refused', () => {
  const { table, ended } = sessions(8, 4);
  const refusal = (message: RegExp) =>
    expect.objectContaining({ code: 'mcp_sessions', message: expect.stringMatching(message) });
  const own = Array.from({ length: 4 }, () => {
    table.ensureRoom(a);
    return table.open(as(a), 'up', new Map());
  });
  expect(() => table.ensureRoom(a)).toThrow(refusal(/has 4 of at most 4 sessions here/));
  // One caller cannot take the places of others.
  for (let each = 0; each < 4; each += 1) {
    table.ensureRoom(b);
    table.open(as(b), 'up', new Map());
  }
  expect(() => table.ensureRoom(parseSpiffeId('spiffe://prod.example/c'))).toThrow(
    refusal(/all 8 sessions of this gateway are in use, 0 of them by/),
  );
  for (const session of own) expect(table.find(session.id, as(a))).toBe(session);
  expect(ended).toEqual([]);
});

test('a session that was unused for its time ends; one that is used or has a request open does not', async () => {
  const { table, ended, minutes } = sessions(8);
  const idle = table.open(as(a), '1', new Map());
  const used = table.open(as(a), '2', new Map());
  table.open(as(a), '3', new Map()).open = 1;
  for (let each = 0; each < 3; each += 1) {
    await minutes(5);
    table.find(used.id, as(a));
  }
  expect(ended).toEqual([[idle, 'unused for 600 s', true]]);
});

test('a jump of the clock ends no session', async () => {
  const { table, ended, minutes } = sessions(8);
  table.open(as(a), '1', new Map());
  await minutes(1);
  expect(ended).toEqual([]);
});

test('those that are over are ended here and at the server', () => {
  const { table, ended } = sessions(8);
  const first = table.open(as(a, '41'), '1', new Map());
  const second = table.open(as(a, '42'), '2', new Map());
  table.end(({ serial }) => serial === '41', 'revoked');
  expect(ended).toEqual([[first, 'revoked', true]]);
  expect(() => table.find(first.id, as(a))).toThrow('no such session');
  expect(table.find(second.id, as(a))).toBe(second);
});

test('an id has one answer, and the oldest of a thousand that wait is forgotten', () => {
  const pending = new Map();
  addPending(pending, asked(1));
  expect(() => ensureNew(pending, 1)).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
  for (let id = 2; id <= 1_000; id += 1) expect(addPending(pending, asked(id))).toBe(undefined);
  expect(addPending(pending, asked(1_001))).toEqual(asked(1));
  expect(pending.size).toBe(1_000);
  expect([pending.has(1), pending.has(2), pending.has(1_001)]).toEqual([false, true, true]);
});
