import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_EVENT_LOG } from '@chancery/shared/evidence/tpm.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { TpmEvidenceConfig, tpmEvidence } from './tpm.ts';

const dir = mkdtempSync(join(tmpdir(), 'tpm-'));
afterAll(() => rmSync(dir, { recursive: true }));

const sourceFor = (config: object) =>
  tpmEvidence(TpmEvidenceConfig.parse({ device: `unix:${dir}/none`, ...config }));
const begin = (config: object) => sourceFor(config).begin(new Uint8Array(), AbortSignal.timeout(5_000));

describe('the config', () => {
  test('is the kernel’s resource manager and a key in memory where it says nothing', () => {
    expect(TpmEvidenceConfig.parse({})).toEqual({ device: '/dev/tpmrm0', key: 'memory' });
  });

  test.each([
    ['the device without a resource manager', { device: '/dev/tpm0' }, /^use \/dev\/tpmrm0/],
    [
      'a device that is no path',
      { device: 'swtpm:x' },
      /^a device is \/dev\/tpmrm0, unix:PATH or tcp:HOST:PORT$/,
    ],
    ['a port that is not a number', { device: 'tcp:127.0.0.1:tpm' }, /^a device is/],
    ['a certificate by a relative path', { ekCertificate: 'ek.pem' }, /^an absolute path$/],
    ['another place for the key', { key: 'disk' }, /./],
  ])('refuses %s', (_, config, says) => {
    expect(TpmEvidenceConfig.safeParse(config).error?.issues[0]?.message).toMatch(says);
  });
});

test('keys are made in the TPM only if the config asks for it', () => {
  expect(sourceFor({}).createKey).toBeUndefined();
  expect(sourceFor({ key: 'tpm' }).createKey).toBeDefined();
});

describe('errors for an operator if there is no evidence', () => {
  const big = join(dir, 'big');
  writeFileSync(big, Buffer.alloc(MAX_EVENT_LOG + 1));
  test.each([
    ['no TPM', {}, /^no TPM answers at unix:.*\/none$/],
    ['no event log', { eventLog: join(dir, 'log') }, /^the event log \/.*\/log: no such file/],
    ['an event log that is a folder', { eventLog: dir }, /^the event log \/\S+: /],
    ['an event log that is too long', { eventLog: big }, /^the event log .*big: /],
    ['a key that this TPM did not make', { key: 'tpm' }, /^the TPM has not made this key$/],
  ])('%s', async (_, config, says) => {
    await expect(begin(config)).rejects.toEqual(refusal('tpm_device', says));
  });

  test('no TPM to make a key', async () => {
    await expect(sourceFor({ key: 'tpm' }).createKey?.()).rejects.toEqual(
      refusal('tpm_device', /^no TPM answers/),
    );
  });
});
