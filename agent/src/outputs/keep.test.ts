import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IdentityError } from '@chancery/shared/errors.ts';
import { silentLog } from '@chancery/shared/log.ts';
import { LiveValue } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../test/kit/certificates.ts';
import type { OutputSettings } from '../config.ts';
import type { Holding } from './files.ts';
import { keepOutputs } from './keep.ts';

const base = mkdtempSync(join(tmpdir(), 'keep-'));
afterAll(() => rmSync(base, { recursive: true }));
const trustDomain = parseTrustDomain('prod.example');
const root = makeAuthority('Root').certificate.der;
const second = makeAuthority('Second').certificate.der;
const missing = () => new IdentityError('unavailable', 'none');
const clock = { now: () => NOW, sleepUntil: async () => {} };
const keyed = (pem: string): Holding => ({ chain: [root], key: { pem } });
const bundleOf = (...authorities: readonly Uint8Array[]): Bundle => ({
  trustDomain,
  authorities,
  sequence: 1n,
});

function start(outputs: readonly OutputSettings[]) {
  const svid = new LiveValue<Holding>(missing, keyed('first'));
  const bundle = new LiveValue<Bundle>(missing, bundleOf(root));
  const failures: object[] = [];
  const log = { ...silentLog, error: (fields: object) => failures.push(fields) };
  const kept = keepOutputs({ outputs, svid, bundle, kill: () => true, clock, log });
  return { svid, bundle, failures, ...kept };
}

test('writes at once, after every change, and no more once it is closed', async () => {
  const dir = join(base, 'a');
  const key = () => readFileSync(join(dir, 'key.pem'), 'utf8');
  const first = start([{ dir, mode: '0600' }]);
  await first.close();
  expect(key()).toBe('first');
  first.svid.publish(keyed('late'));
  await first.close();
  expect(key()).toBe('first');
  const again = start([{ dir, mode: '0600' }]);
  again.svid.publish(keyed('second'));
  await again.close();
  expect(key()).toBe('second');
});

test('follows the bundle as well', async () => {
  const dir = join(base, 'd');
  const told = join(base, 'bundles');
  const { bundle, close } = start([
    { dir, mode: '0600', command: ['/bin/sh', '-c', `echo told >> ${told}`] },
  ]);
  bundle.publish(bundleOf(root, second));
  await close();
  expect(readFileSync(told, 'utf8')).toBe('told\ntold\n');
  expect(readFileSync(join(dir, 'bundle.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(2);
});

test('one output that fails is told and does not stop the others', async () => {
  const broken = join(base, 'broken');
  writeFileSync(broken, 'in the way');
  const dir = join(base, 'b');
  const { failures, close } = start([
    { dir: broken, mode: '0600' },
    { dir, mode: '0600' },
  ]);
  await close();
  expect(readFileSync(join(dir, 'key.pem'), 'utf8')).toBe('first');
  expect(failures).toEqual([{ err: expect.objectContaining({ code: 'file' }), dir: broken }]);
});

test('changes are told one after the other, never at the same time', async () => {
  const dir = join(base, 'c');
  const told = join(base, 'told');
  const command = [
    '/bin/sh',
    '-c',
    `echo begin >> ${told}; cat ${dir}/key.pem >> ${told}; echo " end" >> ${told}`,
  ];
  const { svid, close } = start([{ dir, mode: '0600', command }]);
  svid.publish(keyed('second'));
  svid.publish(keyed('third'));
  await close();
  // Each telling sees the newest: three tellings, none of them inside another.
  expect(readFileSync(told, 'utf8').split('\n')).toEqual([
    ...['begin', 'third end', 'begin', 'third end', 'begin', 'third end'],
    '',
  ]);
});
