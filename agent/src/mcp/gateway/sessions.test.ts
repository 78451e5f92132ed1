import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { addPending, type Session, Sessions } from './sessions.ts';

const a = parseSpiffeId('spiffe://prod.example/a');
const b = parseSpiffeId('spiffe://prod.example/b');
const asked = { recordId: 'x', method: 'ping', tool: undefined, startedMs: 0 };

/** Shows the certificate of this serial. */
const as = (id: typeof a, serial = '40') => ({ id, serial });

function sessions(max: number) {
  const evicted: Session[] = [];
  return { evicted, table: new Sessions(max, (session) => evicted.push(session)) };
}

test('a session is found by its caller only, until it is closed', () => {
  const { table } = sessions(8);
  const session = table.open(as(a), 'up', new Map());
  expect(table.find(session.id, a)).toBe(session);
  for (const [id, caller] of [
    [session.id, b],
    ['other', a],
  ] as const)
    expect(() => table.find(id, caller)).toThrow(expect.objectContaining({ code: 'mcp_session' }));
  table.close(session);
  expect(() => table.find(session.id, a)).toThrow('no such session');
});

test('the longest unused idle session makes room', () => {
  const { table, evicted } = sessions(8);
  const first = table.open(as(a), '1', new Map());
  const second = table.open(as(a), '2', new Map());
  table.find(first.id, a);
  table.ensureRoom(a);
  expect(evicted).toEqual([second]);
});

test('one caller cannot take the places of others, nor end their sessions', () => {
  const { table, evicted } = sessions(8);
  const other = table.open(as(b), 'b', new Map());
  for (let n = 0; n < 5; n += 1) {
    table.ensureRoom(a);
    table.open(as(a), `${n}`, new Map());
  }
  expect(evicted.map(({ caller }) => caller)).toEqual([a, a, a]);
  expect(table.find(other.id, b)).toBe(other);
});

test('sessions in use are kept, and a new one is refused', () => {
  const { table, evicted } = sessions(8);
  const use = (caller: typeof a): void => {
    table.open(as(caller), 'up', new Map()).open = 1;
  };
  use(a);
  use(a);
  const refusal = (message: RegExp) =>
    expect.objectContaining({ code: 'rate', message: expect.stringMatching(message) });
  expect(() => table.ensureRoom(a)).toThrow(refusal(/2 sessions in use/));
  for (const name of ['c', 'd', 'e', 'f', 'g', 'h']) use(parseSpiffeId(`spiffe://prod.example/${name}`));
  expect(() => table.ensureRoom(b)).toThrow(refusal(/all 8 sessions/));
  expect(evicted).toEqual([]);
});

test('those that are over are ended here and at the server', () => {
  const { table, evicted } = sessions(8);
  const first = table.open(as(a, '41'), '1', new Map());
  const second = table.open(as(a, '42'), '2', new Map());
  table.end(({ serial }) => serial === '41');
  expect(evicted).toEqual([first]);
  expect(() => table.find(first.id, a)).toThrow('no such session');
  expect(table.find(second.id, a)).toBe(second);
});

test('what a client left unanswered does not keep its session', () => {
  const { table, evicted } = sessions(4);
  const left = table.open(as(a), 'up', new Map([[1, asked]]));
  table.ensureRoom(a);
  expect(evicted).toEqual([left]);
});

test('an id has one answer, and the oldest of a thousand that wait is forgotten', () => {
  const pending = new Map();
  addPending(pending, 1, asked);
  expect(() => addPending(pending, 1, asked)).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
  for (let id = 2; id <= 1_001; id += 1) addPending(pending, id, asked);
  expect(pending.size).toBe(1_000);
  expect([pending.has(1), pending.has(2), pending.has(1_001)]).toEqual([false, true, true]);
});
