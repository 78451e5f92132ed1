import { expect, test } from 'vitest';
import { crossChainsIn } from './cross-chains.ts';
import type { State } from './snapshot.ts';

const der = Buffer.alloc(1000, 1);
const sent = (chains: readonly (readonly Buffer[])[]) =>
  crossChainsIn({
    bundle: { crossChains: chains.map((certificates) => ({ certificates })) },
  } as unknown as State);

test('chains are kept as they were sent', () => {
  expect(sent([[der, der]])).toEqual([[new Uint8Array(der), new Uint8Array(der)]]);
  expect(crossChainsIn({ bundle: undefined } as State)).toEqual([]);
});

test.each([
  ['nine chains', Array.from({ length: 9 }, () => [der])],
  ['seven certificates in one', [Array.from({ length: 7 }, () => der)]],
  ['300 KB', [[Buffer.alloc(150_000), Buffer.alloc(150_000)]]],
])('I237 %s: none is kept', (_, chains) => {
  expect(sent(chains)).toEqual([]);
});
