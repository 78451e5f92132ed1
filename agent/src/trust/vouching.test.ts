import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { Vouching } from './vouching.ts';

test('the newest 64 authorities that left the bundle are remembered', () => {
  const vouching = new Vouching(() => false);
  const names = Array.from({ length: 70 }, (_, n) => `${n}`);
  vouching.leave(names.slice(0, 40));
  vouching.leave(names.slice(30));
  expect(vouching.left).toEqual(names.slice(6));
});

test('the first key of the log is kept', () => {
  const vouching = new Vouching(() => false);
  vouching.keep('');
  expect([vouching.logKey, vouching.isVouched]).toEqual([undefined, undefined]);
  const [first, second] = [newLogKey('prod.example').text, newLogKey('prod.example').text];
  for (const text of [first, first, undefined]) vouching.keep(text);
  expect(() => vouching.keep(second)).toThrow(refusal('bundle', /another key than the one/));
  expect(vouching.logKey).toBe(first);
});
