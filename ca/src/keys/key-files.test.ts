import fs from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { keyFiles } from './key-files.ts';

const at = (reference: string) => ({ home: 'file', reference });

describe('keys in files', () => {
  const folder = makeFolder();
  afterAll(() => removeFolder(folder));
  const kek = Buffer.alloc(32, 7);

  test('are the owner’s alone, in a folder of the owner’s alone, and are no PEM that others read', async () => {
    const keys = keyFiles(join(folder, 'keys'), kek);
    const { signer, place } = await keys.create('40aa');
    expect(place).toEqual(at('40aa'));
    expect(fs.statSync(join(folder, 'keys')).mode & 0o777).toBe(0o700);
    const file = join(folder, 'keys', '40aa.key');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.readFileSync(file, 'utf8')).toMatch(/^-----BEGIN CHANCERY ENCRYPTED KEY-----/);
    expect((await keys.load(place)).spki).toEqual(signer.spki);
    expect([await keys.has(place), await keys.has(at('40ff'))]).toEqual([true, false]);
  });

  test('are of the algorithm that is asked for', async () => {
    const keys = keyFiles(join(folder, 'algorithms'), kek);
    const made = [await keys.create('40aa'), await keys.create('40ab', 'ecdsa-p384')];
    expect(made.map(({ signer }) => signer.algorithm)).toEqual(['ecdsa-p256', 'ecdsa-p384']);
    expect((await keys.load(at('40ab'))).algorithm).toBe('ecdsa-p384');
  });

  test('are gone when they are removed, and may be removed again', async () => {
    const keys = keyFiles(join(folder, 'removed'), kek);
    await keys.create('40aa');
    await keys.create('40ab');
    await keys.remove(at('40aa'));
    await keys.remove(at('40aa'));
    expect(fs.readdirSync(join(folder, 'removed'))).toEqual(['40ab.key']);
    fs.mkdirSync(join(folder, 'removed', '40ac.key'));
    await expect(keys.remove(at('40ac'))).rejects.toThrow(refusal('file', /could not be removed/));
  });

  test.each([
    ['that is not there', at('40bb'), kek, 'key_missing', /40bb\.key could not be opened: it is missing/],
    ['under another key-encryption key', at('40aa'), Buffer.alloc(32, 8), 'file', /does not open/],
    ['in another home', { home: 'token', reference: '40aa' }, kek, 'key_wrong', /is in the home token/],
    ['whose name leads elsewhere', at('../40aa'), kek, 'key_wrong', /key \.\.\/40aa is not named/],
  ] as const)('%s are refused', async (_, place, other, code, message) => {
    const keys = keyFiles(join(folder, 'keys'), other);
    await expect(keys.load(place)).rejects.toThrow(refusal(code, message));
  });
});
