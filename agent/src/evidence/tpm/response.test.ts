import { concat, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { MAX_RESPONSE_BYTES, ResponseAssembler } from './response.ts';

const response = (size: number, body: number): Uint8Array =>
  concat(u16(0x8001), u32(size), u32(0), new Uint8Array(body));

test('a response is whole when the size in its header is there, in whatever pieces', () => {
  const whole = response(14, 4);
  const parts = new ResponseAssembler();
  const pieces = [...whole].map((byte) => parts.push(Uint8Array.of(byte)));
  expect(pieces.slice(0, -1).every((each) => each === undefined)).toBe(true);
  expect(pieces.at(-1)).toEqual(whole);
});

test('the next response begins anew', () => {
  const parts = new ResponseAssembler();
  parts.push(response(14, 4));
  expect(parts.push(response(10, 0))).toEqual(response(10, 0));
});

test('the largest response is read', () => {
  const whole = response(MAX_RESPONSE_BYTES, MAX_RESPONSE_BYTES - 10);
  expect(new ResponseAssembler().push(whole)).toEqual(whole);
});

test.each([
  [
    'announces more than a TPM may say',
    response(MAX_RESPONSE_BYTES + 1, 0),
    /announces a response of 4097 bytes$/,
  ],
  ['says more than it announced', response(10, 1), /said more than its response of 10 bytes$/],
])('a device that %s is refused', (_, bytes, says) => {
  expect(() => new ResponseAssembler().push(bytes)).toThrow(refusal('tpm_device', says));
});
