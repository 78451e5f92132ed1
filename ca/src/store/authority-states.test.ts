import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import type { MovedKind } from './authority-record.ts';
import { afterMoves, ensureNew, isInBundle, keepsKey, maySign, type Standing } from './authority-states.ts';
import type { AuthorityMove, AuthorityState } from './store.ts';

const STATES = ['prepared', 'published', 'active', 'retiring', 'removed'] as const;
const MOVES = STATES.flatMap((from) => STATES.map((to) => ({ from, to })));

const root = { serial: '40aa', kind: 'root', state: 'active', sequence: 1n } as const;
const of = (kind: MovedKind, state: AuthorityState): Standing => ({
  serial: '40bb',
  kind,
  state,
  sequence: 2n,
});

/** The moves that exist for a kind, beside a root that is `other`. */
const legal = (kind: MovedKind, other: AuthorityState): readonly string[] =>
  MOVES.flatMap(({ from, to }) => {
    try {
      const stored = [{ ...root, state: other }, of(kind, from)];
      const after = afterMoves(stored, [{ serial: '40bb', from, to }], { sequence: 3n });
      return after === undefined ? [] : [`${from} -> ${to}`];
    } catch {
      return [];
    }
  });

describe('JWT keys', () => {
  const key = (serial: string, state: AuthorityState): Standing => ({ ...of('jwt', state), serial });
  const moved = (stored: readonly Standing[], moves: readonly AuthorityMove[]) =>
    afterMoves(stored, moves, { sequence: 9n })?.map(({ state, sequence }) => `${state} ${sequence}`);

  test('take the way of roots: one signs, and the bundle changes by one step at a time', () => {
    const both = [key('40aa', 'active'), key('40bb', 'published')];
    const turn: readonly AuthorityMove[] = [
      { serial: '40aa', from: 'active', to: 'retiring' },
      { serial: '40bb', from: 'published', to: 'active' },
    ];
    // Who signs is not in the bundle.
    expect(moved(both, turn)).toEqual(['retiring 2', 'active 2']);
    expect(
      moved(
        [key('40aa', 'prepared'), key('40bb', 'active')],
        [{ serial: '40aa', from: 'prepared', to: 'published' }],
      ),
    ).toEqual(['published 9', 'active 2']);
    expect(moved(both, turn.slice(1))).toBeUndefined();
  });

  test.each<[string, readonly Standing[], readonly AuthorityMove[], RegExp]>([
    [
      'cannot leave none that signs',
      [key('40aa', 'active')],
      [{ serial: '40aa', from: 'active', to: 'removed' }],
      /^no JWT key would be active after this$/,
    ],
    [
      'cannot come and go in one bundle',
      [key('40aa', 'retiring'), key('40bb', 'active'), key('40cc', 'prepared')],
      [
        { serial: '40aa', from: 'retiring', to: 'removed' },
        { serial: '40cc', from: 'prepared', to: 'published' },
      ],
      /^the bundle would gain a JWT key and lose another/,
    ],
    [
      'do not sign before they are published',
      [key('40aa', 'active'), key('40bb', 'prepared')],
      [
        { serial: '40aa', from: 'active', to: 'retiring' },
        { serial: '40bb', from: 'prepared', to: 'active' },
      ],
      /^jwt 40bb cannot go from prepared to active$/,
    ],
  ])('%s', (_, stored, moves, says) => {
    expect(() => afterMoves(stored, moves, { sequence: 9n })).toThrow(refusal('store', says));
  });

  test('sign from the start where none does', () => {
    expect(() => ensureNew([key('40aa', 'removed')], key('40bb', 'active'))).not.toThrow();
    expect(() => ensureNew([key('40aa', 'active')], key('40bb', 'active'))).toThrow(
      refusal('store', /has a JWT key that signs already$/),
    );
    expect(() => ensureNew([], key('40bb', 'published'))).toThrow(/is published; it must be prepared/);
  });
});

describe('the moves that exist', () => {
  test('of an intermediate lead past the bundle', () => {
    expect(legal('intermediate', 'active')).toEqual([
      'prepared -> active',
      'prepared -> removed',
      'active -> retiring',
      'active -> removed',
      'retiring -> active',
      'retiring -> removed',
    ]);
  });

  test('of a root beside one that signs leave that one the only one', () => {
    expect(legal('root', 'active')).toEqual([
      'prepared -> published',
      'prepared -> removed',
      'published -> prepared',
      'published -> removed',
      'active -> retiring',
      'active -> removed',
      'retiring -> removed',
    ]);
  });

  test('of a root beside one that does not sign make it the one that does', () => {
    expect(legal('root', 'retiring')).toEqual(['published -> active', 'retiring -> active']);
  });
});

test.each<[AuthorityState, boolean, boolean, boolean]>([
  ['prepared', false, false, true],
  ['published', true, false, true],
  ['active', true, true, true],
  ['retiring', true, false, true],
  ['removed', false, false, false],
])('a root that is %s is in the bundle: %s, may sign: %s, keeps its key: %s', (state, bundle, signs, key) => {
  const standing = of('root', state);
  expect([isInBundle(standing), maySign(standing), keepsKey(standing)]).toEqual([bundle, signs, key]);
  expect(isInBundle(of('intermediate', state))).toBe(false);
});

describe('a step of a rotation', () => {
  const next = of('root', 'published');
  const swap: readonly AuthorityMove[] = [
    { serial: '40aa', from: 'active', to: 'retiring' },
    { serial: '40bb', from: 'published', to: 'active' },
  ];

  test('swaps who signs at once, and can be taken back', () => {
    const swapped = afterMoves([root, next], swap, { sequence: 9n }) ?? [];
    expect(swapped).toEqual([
      { ...root, state: 'retiring', sequence: 9n },
      { ...next, state: 'active' },
    ]);
    const back: readonly AuthorityMove[] = [
      { serial: '40bb', from: 'active', to: 'retiring' },
      { serial: '40aa', from: 'retiring', to: 'active' },
    ];
    expect(afterMoves(swapped, back, { sequence: 10n })).toEqual([
      { ...root, sequence: 10n },
      { ...next, state: 'retiring', sequence: 10n },
    ]);
  });

  test('may go several states at once, each of which must exist', () => {
    const hasty: readonly AuthorityMove[] = [
      { serial: '40bb', from: 'prepared', to: 'published' },
      { serial: '40bb', from: 'published', to: 'active' },
      { serial: '40aa', from: 'active', to: 'retiring' },
    ];
    const stored = [root, of('root', 'prepared')];
    expect(afterMoves(stored, hasty, { sequence: 9n })).toEqual([
      { ...root, state: 'retiring', sequence: 9n },
      { ...next, state: 'active', sequence: 9n },
    ]);
    const leap: AuthorityMove = { serial: '40bb', from: 'prepared', to: 'active' };
    expect(() => afterMoves(stored, [leap], { sequence: 9n })).toThrow(
      refusal('store', /^root 40bb cannot go from prepared to active$/),
    );
  });

  test('removes a stolen root at once where another one is published, and not where it would be new to agents', () => {
    const removed: AuthorityMove = { serial: '40aa', from: 'active', to: 'removed' };
    expect(afterMoves([root, next], [...swap.slice(1), removed], { sequence: 9n })).toEqual([
      { ...root, state: 'removed', sequence: 9n },
      { ...next, state: 'active' },
    ]);
    const published: AuthorityMove = { serial: '40bb', from: 'prepared', to: 'published' };
    const both = [published, ...swap.slice(1), removed];
    expect(() => afterMoves([root, of('root', 'prepared')], both, { sequence: 9n })).toThrow(
      refusal('store', /^the bundle would gain a root and lose another: move one after the other$/),
    );
  });

  test('numbers only what changes in the bundle, and leaves the rest as it is', () => {
    const other = { ...of('intermediate', 'active'), serial: '40cc' };
    const stored = [root, of('root', 'prepared'), other];
    const after =
      afterMoves(stored, [{ serial: '40bb', from: 'prepared', to: 'published' }], { sequence: 9n }) ?? [];
    expect(after.map(({ sequence }) => sequence)).toEqual([1n, 9n, 2n]);
    expect([after[0], after[2]]).toEqual([stored[0], stored[2]]);
    expect(after[2]).toBe(other);
  });

  test.each<[string, readonly AuthorityMove[]]>([
    ['that begins at another state', [{ serial: '40bb', from: 'prepared', to: 'published' }]],
    ['of an unknown authority', [{ serial: '40cc', from: 'prepared', to: 'published' }]],
    ['of which one part comes too late', [...swap, { serial: '40aa', from: 'active', to: 'removed' }]],
    ['after which two roots would sign', swap.slice(1)],
  ])('%s is not made', (_, moves) => {
    expect(afterMoves([root, next], moves, { sequence: 9n })).toBeUndefined();
  });

  test('after which no root would sign is refused', () => {
    const says = refusal('store', /^no root would be active after this$/);
    expect(() => afterMoves([root, next], swap.slice(0, 1), { sequence: 9n })).toThrow(says);
  });
});

test('two intermediates do not sign at a time', () => {
  const stored = [root, of('intermediate', 'active'), { ...of('intermediate', 'prepared'), serial: '40cc' }];
  const second: AuthorityMove = { serial: '40cc', from: 'prepared', to: 'active' };
  expect(afterMoves(stored, [second], { sequence: 9n })).toBeUndefined();
  expect(
    afterMoves(stored, [{ serial: '40bb', from: 'active', to: 'retiring' }, second], { sequence: 9n }),
  ).toBeDefined();
});

describe('a new authority', () => {
  test('is prepared, or the first root', () => {
    expect(() => ensureNew([], { kind: 'root', state: 'active' })).not.toThrow();
    expect(() => ensureNew([], { kind: 'root', state: 'prepared' })).not.toThrow();
    expect(() => ensureNew([root], { kind: 'intermediate', state: 'prepared' })).not.toThrow();
  });

  test.each<[string, readonly Standing[], MovedKind, AuthorityState, RegExp]>([
    ['a second first root', [root], 'root', 'active', /^this CA has a root already$/],
    ['the first root after one that was removed', [of('root', 'removed')], 'root', 'active', /already$/],
    ['a root in the bundle', [root], 'root', 'published', /^a new root is published; it must be prepared$/],
    ['an intermediate that signs', [root], 'intermediate', 'active', /^a new intermediate is active; it/],
  ])('is not %s', (_, stored, kind, state, message) => {
    expect(() => ensureNew(stored, { kind, state })).toThrow(refusal('store', message));
  });
});
