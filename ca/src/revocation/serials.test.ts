import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test } from 'vitest';
import { makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Store } from '../store/store.ts';
import { issuedSerial } from './serials.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const made = { type: 'agent.acknowledged', id, sequence: 1 } as const;
const node = { platform: 'fake', node: 'n1', identity: 'web' };

let store: Store;
beforeEach(async () => {
  ({ store } = await makeAuthorities());
});

let keys = 0;
async function record(serial: string, notAfter = after(60)): Promise<void> {
  keys += 1;
  const keySha256 = Buffer.alloc(32, keys);
  await store.record({ serial, id, ...node, keySha256, issuer: '40bb', notBefore: NOW, notAfter }, made);
}
const meant = async (text: string, force = false) =>
  (await issuedSerial({ text, now: NOW, force }, store)).value;

test.each([
  ['in full', '40ab12ff'],
  ['in upper case with colons', '40:AB:12:FF'],
  ['by whole bytes', '40ab12'],
  ['by half a byte', '40ab1'],
  ['by its first digit', '4'],
])('a serial is found %s', async (_, text) => {
  await record('40ab12ff');
  await record('39ffffff');
  await record('5000');
  expect(await meant(text)).toBe('40ab12ff');
});

test('the greatest serial is found by its beginning', async () => {
  await record('ff'.repeat(20));
  expect(await meant('fff')).toBe('ff'.repeat(20));
});

test('a serial in full is meant, though another begins so', async () => {
  await record('40ab');
  await record('40abcd');
  expect(await meant('40ab')).toBe('40ab');
});

test('a beginning of several is refused, and lists them', async () => {
  await record('40ab01');
  await record('40ab02');
  await expect(meant('40ab')).rejects.toThrow(
    refusal(
      'revocation',
      /^40ab begins more than one serial: give more digits\n {2}40ab01 spiffe:.*\/web\n {2}40ab02 spiffe:.*\/web$/,
    ),
  );
});

test('a list of many ends after ten', async () => {
  for (let n = 10; n < 22; n += 1) await record(`40ab${n}`);
  await expect(meant('40ab')).rejects.toThrow(/40ab19 spiffe:\S+\n {2}and more$/);
});

test('an expired certificate does not make a beginning ambiguous', async () => {
  await record('40ab01', NOW);
  await record('40ab02');
  expect(await meant('40ab')).toBe('40ab02');
  expect(await meant('40ab01')).toBe('40ab01');
});

test('a serial that is not on record is refused unless forced', async () => {
  await record('40ab01');
  await expect(meant('40ac')).rejects.toThrow(
    refusal('revocation', /^no certificate with serial 40ac was issued by this CA: .*--force/),
  );
  expect(await meant('40AC', true)).toBe('40ac');
});

test('force takes the serial as it is', async () => {
  await record('40ab01');
  expect(await meant('40ab', true)).toBe('40ab');
});
