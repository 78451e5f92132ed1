import { utf8 } from '@chancery/shared/bytes.ts';
import { systemClock } from '@chancery/shared/clock.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import { silentLog } from '@chancery/shared/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import type { AttestorDeps } from './attestor.ts';
import { AttestorsConfig, attestorsFrom } from './index.ts';

const files: Record<string, string> = {
  'empty.pem': '',
  'key.pem': '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
  'broken.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
};

const deps: AttestorDeps = {
  trustDomain: parseTrustDomain('prod.example'),
  memory: { advance: async () => {}, bind: async () => {} },
  outbound: { request: () => Promise.reject(new Error('nothing is asked at load')), close() {} },
  clock: systemClock,
  log: silentLog,
  readFile(path) {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return utf8(text);
  },
};

test('makes those that are configured', async () => {
  expect(await attestorsFrom(AttestorsConfig.parse({}), deps)).toEqual([]);
  expect(await attestorsFrom(AttestorsConfig.parse({ unix: {} }), deps)).toMatchObject([{ type: 'unix' }]);
});

test.each([
  { file: 'none.pem', says: 'ENOENT' },
  { file: 'empty.pem', says: 'no PEM block CERTIFICATE' },
  { file: 'key.pem', says: 'is "PUBLIC KEY", not CERTIFICATE' },
  { file: 'broken.pem', says: 'certificate' },
])('refuses at load a root file that is no certificate: $file', async ({ file, says }) => {
  const load = () => attestorsFrom(AttestorsConfig.parse({ tpm: { roots: [file] } }), deps);
  await expect(load).rejects.toThrow(IdentityError);
  await expect(load).rejects.toThrow(
    expect.objectContaining({ code: 'config', message: expect.stringContaining(says) }),
  );
  await expect(load).rejects.toThrow(`attestors.tpm: ${file}: `);
});

const tpm = { roots: ['root.pem'] };
const value = '00'.repeat(32);

test.each([
  { name: 'no roots', config: { tpm: { roots: [] } }, says: '>=1 items' },
  {
    name: 'T25 PCR 16',
    config: { tpm: { ...tpm, pcrs: { 16: [value] } } },
    says: 'PCR 16 can be reset by any software',
  },
  {
    name: 'T25 PCR 23',
    config: { tpm: { ...tpm, pcrs: { 23: [value] } } },
    says: 'write one of 0 to 15 or 17 to 22 instead',
  },
  {
    name: 'PCR 24',
    config: { tpm: { ...tpm, pcrs: { 24: [value] } } },
    says: 'a PCR is a number from 0 to 23',
  },
  {
    name: 'a PCR by another spelling',
    config: { tpm: { ...tpm, pcrs: { '07': [value] } } },
    says: 'a PCR is a number',
  },
  {
    name: 'a SHA-1 value',
    config: { tpm: { ...tpm, pcrs: { 7: ['00'.repeat(20)] } } },
    says: '64 lower-case hexadecimal',
  },
  {
    name: 'a value in capitals',
    config: { tpm: { ...tpm, pcrs: { 7: ['AA'.repeat(32)] } } },
    says: '64 lower-case hexadecimal',
  },
  { name: 'a PCR that may hold nothing', config: { tpm: { ...tpm, pcrs: { 7: [] } } }, says: '>=1 items' },
  {
    name: 'an event log that is not required',
    config: { tpm: { ...tpm, eventLog: 'optional' } },
    says: 'required',
  },
  { name: 'an unknown key', config: { tpm: { ...tpm, root: 'x' } }, says: 'Unrecognized key' },
  { name: 'an unknown platform', config: { tpn: tpm }, says: 'Unrecognized key' },
])('refuses a config with $name', ({ config, says }) => {
  expect(JSON.stringify(AttestorsConfig.safeParse(config).error?.issues)).toContain(says);
});
