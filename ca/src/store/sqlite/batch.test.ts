import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { commitTogether, type Transaction } from './batch.ts';

const wrap = (error: unknown) => new IdentityError('store', `wrapped: ${String(error)}`);

/** A transaction that writes down what happened, or throws where it is told to. */
function traced(broken: Partial<Transaction> = {}, unchanged = true) {
  const trace: string[] = [];
  const step = (name: 'begin' | 'commit' | 'rollback') => () => {
    trace.push(name);
    broken[name]?.();
  };
  const mark = () => () => {
    trace.push('taken back');
    return unchanged;
  };
  const transaction = { begin: step('begin'), commit: step('commit'), rollback: step('rollback'), mark };
  const write = (name: string) => () => {
    trace.push(name);
    return name;
  };
  const commit = (...writes: (() => unknown)[]) => commitTogether(writes, transaction, wrap);
  return { trace, write, commit };
}

const fail = (error: Error) => () => {
  throw error;
};
const broken = new Error('no');
const refused = new IdentityError('csr_key', 'the key belongs to another node');

test('writes share a transaction, and have their values in order', () => {
  const { trace, write, commit } = traced();
  expect(commit(write('a'), write('b'))).toEqual([{ value: 'a' }, { value: 'b' }]);
  expect(trace).toEqual(['begin', 'a', 'b', 'commit']);
});

test('a write that cannot be made is undone with its neighbours, who are then written alone', () => {
  const { trace, write, commit } = traced();
  const [a, bad, c] = commit(write('a'), fail(broken), write('c'));
  expect([a, c]).toEqual([{ value: 'a' }, { value: 'c' }]);
  expect(bad?.error).toEqual(refusal('store', /^wrapped: Error: no$/));
  expect(trace).toEqual([
    ...['begin', 'a', 'rollback'],
    ...['begin', 'a', 'commit'],
    ...['begin', 'rollback'],
    ...['begin', 'c', 'commit'],
  ]);
});

describe('a refusal', () => {
  test('before anything was written costs its neighbours nothing', () => {
    const { trace, write, commit } = traced();
    const [a, bad, c] = commit(write('a'), fail(refused), write('c'));
    expect([a, bad, c]).toEqual([{ value: 'a' }, { error: refused }, { value: 'c' }]);
    expect(trace).toEqual(['begin', 'a', 'taken back', 'c', 'commit']);
  });

  test('after something was written is undone as any other failure', () => {
    const { trace, write, commit } = traced({}, false);
    const [bad, b] = commit(fail(refused), write('b'));
    expect(bad?.error?.message).toMatch(/belongs to another node/);
    expect(b).toEqual({ value: 'b' });
    expect(trace).toEqual([
      'begin',
      'taken back',
      'rollback',
      'begin',
      'taken back',
      'rollback',
      'begin',
      'b',
      'commit',
    ]);
  });
});

test.each<[string, Partial<Transaction>]>([
  ['begin', { begin: fail(broken) }],
  ['commit', { commit: fail(broken) }],
])('a failed %s rejects every write of its batch', (_, parts) => {
  const { write, commit } = traced(parts);
  expect(commit(write('a'), write('b')).map(({ error }) => error?.message)).toEqual([
    'wrapped: Error: no',
    'wrapped: Error: no',
  ]);
});

test('where rolling back fails too, the first error is told', () => {
  const { write, commit } = traced({ commit: fail(new Error('disk full')), rollback: fail(broken) });
  expect(commit(write('a'))[0]?.error).toEqual(refusal('store', /disk full/));
});
