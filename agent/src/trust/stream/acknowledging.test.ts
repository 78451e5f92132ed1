import { expect, test } from 'vitest';
import type { Part } from '../state/reading.ts';
import type { State } from '../state/snapshot.ts';
import { Acknowledging } from './acknowledging.ts';

const ALL = ['bundle', 'policy', 'revocations'] as const;

function stateOf(sequence: bigint, [bundle, policy, revocations]: readonly bigint[]): State {
  return {
    sequence,
    bundle: {
      trustDomain: 'prod.example',
      x509Authorities: [],
      sequence: bundle ?? 0n,
      jwtAuthorities: [],
      readerVersion: 0,
      retiringX509: [],
      crossChains: [],
      logKey: '',
      note: '',
    },
    policy: { version: policy ?? 0n, resources: [], note: '' },
    revocations: { sequence: revocations ?? 0n, list: [], since: 0n, gone: [], note: '' },
    readerVersion: 0,
  };
}
const parts = (bundle: bigint, policy: bigint, revocations: bigint) => ({ bundle, policy, revocations });

test('a whole snapshot is acknowledged with its parts', () => {
  const ack = new Acknowledging().after(stateOf(10n, [1n, 4n, 5n]), {
    taken: ALL,
    isWhole: true,
    takesParts: true,
  });
  expect(ack).toEqual({ sequence: 10n, parts: parts(1n, 4n, 5n) });
});

test('of one that is not followed the parts are that are, once each', () => {
  const acknowledging = new Acknowledging();
  const after = (sequence: bigint, numbers: readonly bigint[], taken: readonly Part[]) =>
    acknowledging.after(stateOf(sequence, numbers), { taken, isWhole: taken.length === 3, takesParts: true });
  expect(after(10n, [1n, 4n, 5n], ALL)).toMatchObject({ sequence: 10n });
  expect(after(12n, [2n, 4n, 6n], ['revocations'])).toEqual({ sequence: 10n, parts: parts(1n, 4n, 6n) });
  expect(after(13n, [3n, 4n, 6n], ['revocations'])).toBeUndefined();
  expect(after(14n, [3n, 5n, 6n], [])).toBeUndefined();
  expect(after(15n, [1n, 6n, 7n], ALL)).toEqual({ sequence: 15n, parts: parts(1n, 6n, 7n) });
});

test('a CA that does not know parts hears of whole snapshots only', () => {
  const acknowledging = new Acknowledging();
  expect(
    acknowledging.after(stateOf(12n, [2n, 4n, 6n]), {
      taken: ['revocations'],
      isWhole: false,
      takesParts: false,
    }),
  ).toBeUndefined();
  expect(
    acknowledging.after(stateOf(13n, [1n, 4n, 6n]), { taken: ALL, isWhole: true, takesParts: false }),
  ).toEqual({
    sequence: 13n,
    parts: undefined,
  });
});
