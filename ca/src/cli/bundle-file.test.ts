import { readPem } from '@chancery/shared/der/pem.ts';
import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { carriedLogKey, writeBundleFile } from './bundle-file.ts';

const { text: key } = newLogKey('prod.example');
const roots = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];

test('a file carries authorities and the key of the log, and is PEM to every reader', () => {
  const text = writeBundleFile(roots, key);
  expect(readPem(text, 'CERTIFICATE', 'bundle').map((der) => [...der])).toEqual([[1, 2, 3], [4]]);
  expect(carriedLogKey(text)).toBe(key);
  expect(carriedLogKey(text.replaceAll('\n', '\r\n'))).toBe(key);
  expect(carriedLogKey(writeBundleFile(roots, ''))).toBeUndefined();
});

test.each([
  ['that is cut', writeBundleFile(roots, key).slice(0, -9), /cannot be read: carry what/],
  ['twice', writeBundleFile(roots, key).repeat(2), /more than one key/],
])('a key %s is refused', (_, text, says) => {
  expect(() => carriedLogKey(text)).toThrow(refusal('bundle', says));
});
