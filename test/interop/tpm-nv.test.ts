/** What real TPMs have in NV memory beside one clean certificate, written into a software TPM by tpm2-tools. */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { concat, u8, u16, utf8 } from '@chancery/shared/ground/bytes.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attestLive, attestorOf, sourceOf } from '../kit/tpm/live-tpm.ts';
import { makeManufacturer, newKey } from '../kit/tpm/manufacturer.ts';
import { makeSoftwareTpm, runTool, type SoftwareTpm } from '../kit/tpm/swtpm.ts';
import { expectRefusal } from '../kit/tpm/tpm-attestor.ts';

const RSA = '0x01C00002';
const P384 = '0x01C00016';
const CHAIN = ['0x01C00100', '0x01C00101'] as const;
const READABLE = 'ownerwrite|ownerread|authread|ppread|no_da';

let tpm: SoftwareTpm;
/** The manufacturer's certificates of the two keys, and the names that the CA gives them. */
let rsa: Uint8Array;
let nodeOfRsa: string;
let nodeOfP384: string;

beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  rsa = await read(RSA);
  nodeOfRsa = await nodeNow();
  await undefine(RSA);
  nodeOfP384 = await nodeNow();
});
afterAll(async () => {
  await tpm.stop();
});

const nodeNow = async (): Promise<string> => (await attestLive(sourceOf(tpm), attestorOf(tpm))).node;
const fileFor = (name: string): string => join(tpm.device.slice('unix:'.length), '..', name);

async function read(index: string): Promise<Uint8Array> {
  const path = fileFor('read.der');
  await runTool(tpm, ['tpm2_nvread', '-C', 'o', '-o', path, index]);
  return readFile(path);
}

async function undefine(index: string): Promise<void> {
  await runTool(tpm, ['tpm2_nvundefine', '-C', 'p', index]);
}

/** While `use` runs the index has these bytes. */
async function holding(
  index: string,
  bytes: Uint8Array,
  use: () => Promise<void>,
  how = READABLE,
): Promise<void> {
  const path = fileFor('written');
  await writeFile(path, bytes);
  await runTool(tpm, ['tpm2_flushcontext', '-t']);
  await runTool(tpm, ['tpm2_nvdefine', '-C', 'o', '-s', String(bytes.length), '-a', how, index]);
  try {
    await runTool(tpm, ['tpm2_nvwrite', '-C', 'o', '-i', path, index]);
    await use();
  } finally {
    await runTool(tpm, ['tpm2_nvundefine', '-C', 'o', index]);
  }
}

test('the two keys differ', () => {
  expect(nodeOfRsa).not.toBe(nodeOfP384);
});

const filling = new Uint8Array(30).fill(0xff);
test.each<[string, () => Uint8Array]>([
  ['a header of the TCG before it', () => concat(u16(0x1001), u8(0), u16(rsa.length), rsa)],
  [
    'both headers and filling',
    () => concat(u16(0x1001), u8(0), u16(rsa.length + 2), u16(0x1002), rsa, filling),
  ],
])('the RSA certificate with %s is read', async (_, bytes) => {
  await holding(RSA, bytes(), async () => expect(await nodeNow()).toBe(nodeOfRsa));
});

test('an index that only the owner may read is read as the owner', async () => {
  const check = async () => expect(await nodeNow()).toBe(nodeOfRsa);
  await holding(RSA, rsa, check, 'ownerwrite|ownerread|no_da');
});

const others = makeManufacturer().certify(spkiOf(newKey()));
test.each<[string, () => Uint8Array]>([
  ['blank, 0xff', () => new Uint8Array(900).fill(0xff)],
  ['blank, zero', () => new Uint8Array(900)],
  ['text', () => new Uint8Array(900).fill(0x41)],
  ['broken', () => Uint8Array.from(rsa, (byte, at) => (at === 6 ? byte ^ 1 : byte))],
  ['cut short', () => rsa.subarray(0, 500)],
  ["another key's", () => others],
])('where the RSA certificate is %s, the key of the next one is used', async (_, bytes) => {
  await holding(RSA, bytes(), async () => expect(await nodeNow()).toBe(nodeOfP384));
});

test('where an index was never written, the key of the next one is used', async () => {
  await runTool(tpm, ['tpm2_nvdefine', '-C', 'o', '-s', '900', '-a', READABLE, RSA]);
  try {
    expect(await nodeNow()).toBe(nodeOfP384);
  } finally {
    await runTool(tpm, ['tpm2_nvundefine', '-C', 'o', RSA]);
  }
});

describe('the chain in NV memory', () => {
  const intermediate = (): Uint8Array => {
    const [pem = ''] = tpm.intermediates;
    const [der = new Uint8Array()] = readPem(readFileSync(pem, 'latin1'), 'CERTIFICATE', 'file');
    return der;
  };
  const withoutIntermediates = () => attestLive(sourceOf(tpm), attestorOf(tpm, { intermediates: [] }));
  const unknown = { status: 'U', code: 'ek_chain', says: /does not end at a trusted root/ } as const;

  test('is not there: the CA needs the intermediates in its config', async () => {
    await expectRefusal(withoutIntermediates(), unknown);
  });

  test('is sent, and the CA needs the root alone', async () => {
    const der = intermediate();
    await holding(CHAIN[0], der.subarray(0, 400), async () => {
      await holding(CHAIN[1], concat(der.subarray(400), filling), async () => {
        expect((await withoutIntermediates()).node).toBe(nodeOfP384);
      });
    });
  });

  test('is of use only where it is whole', async () => {
    await holding(CHAIN[0], intermediate().subarray(0, 400), () =>
      expectRefusal(withoutIntermediates(), unknown),
    );
  });
});

describe('ekCertificate', () => {
  const begin = (path: string) =>
    sourceOf(tpm, { ekCertificate: path }).begin(new Uint8Array(), new AbortController().signal);
  const written = async (name: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(fileFor(name), content);
    return fileFor(name);
  };

  test.each<[string, () => string | Uint8Array]>([
    ['DER', () => rsa],
    ['PEM', () => writePem('CERTIFICATE', rsa)],
  ])('in %s replaces NV memory', async (_, content) => {
    const source = sourceOf(tpm, { ekCertificate: await written('ek', content()) });
    expect((await attestLive(source, attestorOf(tpm))).node).toBe(nodeOfRsa);
  });

  test('brings the issuers that follow it', async () => {
    const [pem = ''] = tpm.intermediates;
    const text = writePem('CERTIFICATE', rsa) + readFileSync(pem, 'latin1');
    const source = sourceOf(tpm, { ekCertificate: await written('chain.pem', text) });
    expect((await attestLive(source, attestorOf(tpm, { intermediates: [] }))).node).toBe(nodeOfRsa);
  });

  test.each<[string, () => string | Uint8Array, RegExp]>([
    ['of another TPM', () => others, /P-256: the certificate is for another key than the TPM makes/],
    ['that holds text', () => utf8('hello'), /ekCertificate: \S+: no PEM block CERTIFICATE/],
    ['that is cut short', () => rsa.subarray(0, 300), /ekCertificate: \S+: certificate ends early/],
  ])('%s is refused by its name', async (_, content, says) => {
    await expect(begin(await written('odd', content()))).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringMatching(says),
    });
  });

  test('is the advice where the TPM carries none', async () => {
    await undefine(P384);
    const attempt = sourceOf(tpm).begin(new Uint8Array(), new AbortController().signal);
    await expect(attempt).rejects.toMatchObject({
      message: expect.stringMatching(
        /no supported endorsement certificate; .* evidence\.tpm\.ekCertificate$/,
      ),
    });
  });
});
