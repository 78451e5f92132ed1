import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { GroupCommit, type Transaction } from './group-commit.ts';

const wrap = (error: unknown) => new IdentityError('store', `wrapped: ${String(error)}`);

/** A transaction that writes down what happened, or throws where it is told to. */
function traced(broken: Partial<Transaction> = {}) {
  const trace: string[] = [];
  const step = (name: keyof Transaction) => () => {
    trace.push(name);
    broken[name]?.();
  };
  const group = new GroupCommit(
    { begin: step('begin'), commit: step('commit'), rollback: step('rollback') },
    wrap,
  );
  const write = (name: string) =>
    group.write(() => void trace.push(name)).then(() => void trace.push(`${name} answered`));
  return { trace, group, write };
}

const fail = (says: string) => () => {
  throw new Error(says);
};

test('writes that arrive together share a transaction, and are answered in order when it is committed', async () => {
  const { trace, write } = traced();
  await Promise.all([write('a'), write('b'), write('c')]);
  expect(trace).toEqual(['begin', 'a', 'b', 'c', 'commit', 'a answered', 'b answered', 'c answered']);
});

test('what arrives while a transaction is made goes into the next', async () => {
  const { trace, group, write } = traced();
  let second: Promise<void> | undefined;
  await group.write(() => {
    second = write('b');
  });
  await second;
  expect(trace).toEqual(['begin', 'commit', 'begin', 'b', 'commit', 'b answered']);
});

test('a transaction takes 512 writes', async () => {
  const { trace, write } = traced();
  await Promise.all(Array.from({ length: 513 }, (_, n) => write(`${n}`)));
  expect(trace.filter((each) => each === 'commit')).toHaveLength(2);
  expect(trace.indexOf('commit')).toBe(513);
});

test('flush commits now', () => {
  const { trace, group, write } = traced();
  void write('a');
  group.flush();
  expect(trace).toEqual(['begin', 'a', 'commit']);
});

describe('a write that cannot be made', () => {
  test('is undone with its neighbours, who are then written alone', async () => {
    const { trace, group, write } = traced();
    const [a, bad, c] = [write('a'), group.write(fail('no')), write('c')];
    await expect(bad).rejects.toThrow(refusal('store', /^wrapped: Error: no$/));
    await Promise.all([a, c]);
    expect(trace).toEqual([
      ...['begin', 'a', 'rollback'],
      ...['begin', 'a', 'commit'],
      ...['begin', 'rollback'],
      ...['begin', 'c', 'commit'],
      ...['a answered', 'c answered'],
    ]);
  });

  test('does not keep later ones away', async () => {
    const { group, write } = traced();
    await expect(group.write(fail('no'))).rejects.toThrow(/no/);
    await write('a');
  });
});

test.each<[string, Partial<Transaction>]>([
  ['begin', { begin: fail('no') }],
  ['commit', { commit: fail('no') }],
])('a failed %s rejects every write of its batch', async (_, broken) => {
  const { trace, write } = traced(broken);
  const answers = await Promise.allSettled([write('a'), write('b')]);
  expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(trace.filter((each) => each.endsWith('answered'))).toEqual([]);
});

test('where rolling back fails too, the first error is told', async () => {
  const { write } = traced({ commit: fail('disk full'), rollback: fail('no transaction is active') });
  await expect(write('a')).rejects.toThrow(refusal('store', /disk full/));
});
