import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { MODULE, makeSoftHsm, PIN, whyNoToken } from '../../../../test/kit/keys/softhsm.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { openPkcs11 } from './pkcs11-home.ts';

const missing = whyNoToken();
if (missing !== undefined) console.log(`keys in a token are not tested: ${missing}`);

describe.skipIf(missing !== undefined)('keys in a token', () => {
  const folder = makeFolder();
  const hsm = missing === undefined ? makeSoftHsm(folder, 'chancery test') : undefined;
  process.env['SOFTHSM2_CONF'] = hsm?.env.SOFTHSM2_CONF;
  const at = {
    module: MODULE,
    token: 'chancery test',
    pinFile: join(folder, 'pin'),
    refusedFile: join(folder, 'keys', 'refused-pin'),
    keyEncryptionKey: Buffer.alloc(32, 7),
  };
  const opened = missing === undefined ? openPkcs11(at) : undefined;
  const home = async () => {
    if (opened === undefined) throw new Error('no token');
    return opened;
  };
  afterAll(async () => {
    if (opened !== undefined) (await opened).close();
    removeFolder(folder);
  });
  const tool = (...args: readonly string[]): string => hsm?.tool(...args) ?? '';

  test.each([
    ['ecdsa-p256', 'sha256', 'secp256r1'],
    ['ecdsa-p384', 'sha384', 'secp384r1'],
  ] as const)(
    '%s: openssl verifies what it signs, by the key that pkcs11-tool reads',
    async (algorithm, digest, curve) => {
      const keys = await home();
      const { signer, place } = await keys.create(`aa${digest}`, algorithm);
      expect(place).toEqual({
        home: 'pkcs11',
        reference: `pkcs11:token=chancery%20test;object=chancery-aa${digest}`,
      });
      expect(signer.algorithm).toBe(algorithm);
      const [der, data, signature] = ['key.der', 'data', 'signature'].map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ];
      const listed = tool('--list-objects', '--type', 'pubkey');
      const [, point = ''] =
        /EC_POINT: +04[0-9a-f]{2}([0-9a-f]+)\n +EC_PARAMS/.exec(
          listed.split(`chancery-aa${digest}`)[0]?.split('Public Key').at(-1) ?? '',
        ) ?? [];
      expect(Buffer.from(signer.spki).toString('hex')).toMatch(new RegExp(`${point}$`));
      expect(point.length).toBeGreaterThan(128);
      fs.writeFileSync(der, signer.spki);
      for (let n = 0; n < 20; n += 1) {
        fs.writeFileSync(data, `data ${n}`);
        fs.writeFileSync(signature, await signer.sign(utf8(`data ${n}`)));
        const verify = ['dgst', `-${digest}`, '-verify', der, '-signature', signature, data];
        expect(execFileSync('openssl', verify, { encoding: 'utf8' })).toContain('Verified OK');
      }
      expect(
        execFileSync('openssl', ['pkey', '-pubin', '-in', der, '-text', '-noout'], { encoding: 'utf8' }),
      ).toContain(curve === 'secp256r1' ? 'prime256v1' : curve);
    },
  );

  test('pkcs11-tool says that they were made there and never leave', async () => {
    await (await home()).create('ab');
    const about = tool('--list-objects', '--type', 'privkey')
      .split('Private Key Object')
      .find((each) => each.includes('chancery-ab'));
    expect(about).toMatch(/Access: +sensitive, always sensitive, never extractable, local/);
    expect(about).toMatch(/Usage: +sign\n/);
  });

  test('sign 64 at once, are found again, and are gone when they are removed', async () => {
    const keys = await home();
    const { place, signer } = await keys.create('ac');
    await Promise.all(
      Array.from({ length: 64 }, (_, n) => signer.sign(createHash('sha256').update(`${n}`).digest())),
    );
    expect((await keys.load(place)).spki).toEqual(signer.spki);
    expect(await keys.has(place)).toBe(true);
    await expect(keys.create('ac')).rejects.toThrow(refusal('key_wrong', /has a key chancery-ac already/));
    await keys.remove(place);
    await keys.remove(place);
    expect(await keys.has(place)).toBe(false);
    expect(tool('--list-objects')).not.toContain('chancery-ac');
    await expect(keys.load(place)).rejects.toThrow(
      refusal('key_missing', /private key chancery-ac is not in the token/),
    );
    await expect(signer.sign(utf8('x'))).rejects.toThrow(refusal('key_missing', /chancery-ac/));
    expect(signer.unable?.()).toMatch(/chancery-ac is not in the token/);
  });

  test('are there again when a token that was pulled is plugged in', async () => {
    const keys = await home();
    const { signer, place } = await keys.create('ad');
    const away = `${hsm?.tokens}.away`;
    fs.renameSync(hsm?.tokens ?? '', away);
    fs.mkdirSync(hsm?.tokens ?? '');
    await expect
      .poll(() => Promise.resolve(signer.sign(utf8('x'))).then(() => 'signs', String), { interval: 50 })
      .toMatch(/token chancery test/);
    await expect(keys.has(place)).rejects.toThrow(refusal('key_unreachable', /token chancery test/));
    expect(signer.unable?.()).toMatch(/token chancery test/);
    fs.rmdirSync(hsm?.tokens ?? '');
    fs.renameSync(away, hsm?.tokens ?? '');
    // The question whether it is ready makes it try again.
    await expect.poll(() => signer.unable?.(), { interval: 50 }).toBeUndefined();
    expect(await keys.has(place)).toBe(true);
  });

  test('I130 that could leave the token, or are there twice, sign nothing', async () => {
    const keys = await home();
    const pem = join(folder, 'imported.pem');
    execFileSync('openssl', [
      'genpkey',
      '-algorithm',
      'EC',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-out',
      pem,
    ]);
    const der = join(folder, 'imported.der');
    execFileSync('openssl', ['pkey', '-in', pem, '-outform', 'DER', '-out', der]);
    const write = (label: string, ...flags: readonly string[]) => {
      tool('--write-object', der, '--type', 'privkey', '--label', label, ...flags);
      execFileSync('openssl', ['pkey', '-in', pem, '-pubout', '-outform', 'DER', '-out', `${der}.pub`]);
      tool('--write-object', `${der}.pub`, '--type', 'pubkey', '--label', label);
    };
    const at = (label: string) => ({
      home: 'pkcs11',
      reference: `pkcs11:token=chancery%20test;object=${label}`,
    });
    write('chancery-b1', '--extractable');
    await expect(keys.load(at('chancery-b1'))).rejects.toThrow(refusal('key_wrong', /may leave the token/));
    write('chancery-b2');
    await expect(keys.load(at('chancery-b2'))).rejects.toThrow(
      refusal('key_wrong', /could once leave|not made in/),
    );
    const { signer, place } = await keys.create('b3');
    write('chancery-b3');
    await expect(keys.load(place)).rejects.toThrow(
      refusal('key_wrong', /private key chancery-b3 is in the token more than once/),
    );
    expect(signer.spki.length).toBe(91);
  });

  test.each([
    [
      'of another token',
      'pkcs11:token=other;object=chancery-ab',
      /is in the token other, and keys.pkcs11.token is/,
    ],
    ['without a token', 'pkcs11:object=chancery-ab', /is not named as a key in a token is/],
    [
      'with more than a name',
      'pkcs11:token=chancery%20test;object=chancery-ab?module-path=/tmp/x',
      /is not named/,
    ],
    ['with a bad escape', 'pkcs11:token=%zz;object=chancery-ab', /is not named/],
  ])('I131 a record that names a key %s is refused', async (_, reference, message) => {
    const keys = await home();
    await expect(keys.load({ home: 'pkcs11', reference })).rejects.toThrow(refusal('key_wrong', message));
  });

  test('I132 a wrong PIN is tried once, also by the next process, until its file changes', async () => {
    const pinFile = join(folder, 'wrong-pin');
    const wrong = { ...at, pinFile, refusedFile: join(folder, 'keys', 'refused-other') };
    fs.writeFileSync(pinFile, '000000\n', { mode: 0o600 });
    const place = { home: 'pkcs11', reference: 'pkcs11:token=chancery%20test;object=chancery-ab' };
    // A session that is logged in counts for the whole process.
    (await home()).close();
    const first = await openPkcs11(wrong);
    await expect(first.ready?.()).rejects.toThrow(
      refusal('key_refused', /refuses the PIN of .*CKR_PIN_INCORRECT/),
    );
    expect(hsm?.slots()).toContain('user PIN count low');
    for (const each of [first, await openPkcs11(wrong)])
      await expect(each.has(place)).rejects.toThrow(
        refusal('key_refused', /has refused the PIN .* not tried again/),
      );
    expect(fs.readFileSync(wrong.refusedFile, 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
    fs.writeFileSync(pinFile, `${PIN}\n`);
    await first.ready?.();
    expect(await first.has(place)).toBe(true);
    expect(fs.existsSync(wrong.refusedFile)).toBe(false);
    first.close();
  });

  test('I133 a PIN file that others may read is refused', async () => {
    const pinFile = join(folder, 'open-pin');
    fs.writeFileSync(pinFile, `${PIN}\n`, { mode: 0o644 });
    const opened = await openPkcs11({ ...at, pinFile });
    const place = { home: 'pkcs11', reference: 'pkcs11:token=chancery%20test;object=chancery-ab' };
    await expect(opened.has(place)).rejects.toThrow(
      refusal('file_mode', /open-pin is open to others: mode 644/),
    );
    opened.close();
  });

  test.each([
    ['that is not there', '/nowhere.so', 'chancery test', /\/nowhere\.so is missing: keys\.pkcs11\.module/],
    [
      'that is no module',
      '/etc/hostname',
      'chancery test',
      /\/etc\/hostname could not be used as a PKCS #11 module/,
    ],
    ['without the token', MODULE, 'other', /there is no token other: is it plugged in/],
  ])('a module %s is named', async (_, module, token, message) => {
    const place = { home: 'pkcs11', reference: 'pkcs11:token=other;object=chancery-ab' };
    const asked = openPkcs11({ ...at, module, token }).then((opened) => opened.has(place));
    await expect(asked).rejects.toThrow(refusal('key_unreachable', message));
  });
});
