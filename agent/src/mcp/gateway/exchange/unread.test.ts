import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test } from 'vitest';
import { Unread } from './unread.ts';

const a = parseSpiffeId('spiffe://prod.example/a');
const b = parseSpiffeId('spiffe://prod.example/b');

let unread: Unread;
let lost: string[];
beforeEach(() => {
  unread = new Unread({ perStream: 100, perCaller: 150, total: 250 });
  lost = [];
});

/** A client with an answer; returns what writes so much more of it, or is read. */
function client(name: string, caller = a): (writableLength: number) => void {
  const res = { writableLength: 0, destroyed: false };
  const held = (): number => (res.destroyed ? 0 : res.writableLength);
  const look = unread.count(caller, held, () => {
    res.destroyed = true;
    lost.push(name);
  });
  return (length) => {
    res.writableLength = length;
    look();
  };
}

test('a stream may have as much to read as its bound, and is lost beyond it', () => {
  const stream = client('a');
  stream(100);
  expect([lost, unread.total]).toEqual([[], 100]);
  stream(101);
  expect([lost, unread.total]).toEqual([['a'], 0]);
});

test('bytes that have been read no longer count', () => {
  const [one, two] = [client('one'), client('two')];
  one(90);
  one(0);
  two(100);
  expect([lost, unread.total]).toEqual([[], 100]);
});

test('of a caller beyond its bound, the answer that holds most is lost', () => {
  const [one, two] = [client('one'), client('two')];
  one(90);
  two(61);
  expect([lost, unread.total]).toEqual([['one'], 61]);
});

test('a caller within its bound loses nothing for another', () => {
  const others = [client('b1', b), client('b2', b)];
  client('a')(60);
  for (const other of others) other(80);
  expect(lost).toEqual(['b1']);
});

test('of all beyond their bound, the caller that holds most loses its largest answer', () => {
  const [a1, a2, b1] = [client('a1'), client('a2'), client('b1', b)];
  a1(80);
  a2(70);
  b1(100);
  expect([lost, unread.total]).toEqual([[], 250]);
  client('b2', b)(1);
  expect([lost, unread.total]).toEqual([['a1'], 171]);
});
