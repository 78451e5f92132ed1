/** tpm2-tools as the judge of our bytes, and our code as the judge of theirs. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TpmCommands, type TpmObject } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm } from '@chancery/agent/evidence/tpm/device.ts';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { asBuffer, concat, equal, hex, Reader, u32 } from '@chancery/shared/ground/bytes.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { makeCredential } from '@chancery/shared/tpm/credential.ts';
import { nameOf, type PublicArea, readPublicArea, spkiOf } from '@chancery/shared/tpm/public-area.ts';
import { speakerOf, verifyCertify, verifyQuote } from '@chancery/shared/tpm/statements.ts';
import { AK, EK_P256, EK_P384, EK_RSA_2048, type Template, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sized } from '../kit/tpm/fake-tpm.ts';
import { sourceOf } from '../kit/tpm/live-tpm.ts';
import { makeSoftwareTpm, runTool, type SoftwareTpm } from '../kit/tpm/swtpm.ts';
import { makeStorageKey, quoteByTool, runAndFlush } from '../kit/tpm/tools.ts';
import { expectRefusal } from '../kit/tpm/tpm-attestor.ts';

let tpm: SoftwareTpm;
let dir: string;
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  dir = await mkdtemp(join(tmpdir(), 'tpm2-'));
});
afterAll(async () => {
  await tpm.stop();
  await rm(dir, { recursive: true });
});

const at = (name: string): string => join(dir, name);

const tool = (...command: readonly string[]): Promise<string> => runAndFlush(tpm, ...command);

async function onDevice<T>(use: (commands: TpmCommands) => Promise<T>): Promise<T> {
  const device = await openTpm(tpm.device);
  const commands = new TpmCommands(device);
  try {
    await commands.flushAll();
    return await use(commands);
  } finally {
    await commands.flushAll();
    device.close();
  }
}

const AK_ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign';

/** Our template, made by the tool: the same primary that the agent derives. */
async function toolAk(): Promise<PublicArea> {
  await tool(
    'tpm2_createprimary',
    '-Q',
    '-C',
    'e',
    '-g',
    'sha256',
    '-G',
    'ecc256:ecdsa-sha256:null',
    '-a',
    AK_ATTRIBUTES,
    '-c',
    at('ak.ctx'),
  );
  await tool('tpm2_readpublic', '-Q', '-c', at('ak.ctx'), '-f', 'tss', '-o', at('ak.pub'));
  const bytes = await readFile(at('ak.pub'));
  return readPublicArea(bytes.subarray(2), AK, 'internal');
}

test('the tool derives our AK', async () => {
  const ours = await onDevice((commands) => commands.createPrimary(ENDORSEMENT, AK));
  expect(equal((await toolAk()).bytes, ours.publicArea)).toBe(true);
});

interface EkCase {
  readonly name: string;
  readonly template: Template;
  readonly persistent: number | undefined;
  readonly byPolicy: boolean;
}

const EKS: EkCase[] = [
  { name: 'RSA-2048', template: EK_RSA_2048, persistent: 0x8101_0001, byPolicy: true },
  { name: 'P-256', template: EK_P256, persistent: undefined, byPolicy: true },
  { name: 'P-384', template: EK_P384, persistent: 0x8101_0016, byPolicy: false },
];

const loadEk = (commands: TpmCommands, { persistent, template }: EkCase): Promise<TpmObject> =>
  persistent === undefined ? commands.createPrimary(ENDORSEMENT, template) : commands.readPublic(persistent);

describe.each(EKS)('credentials for an EK of $name', (ek) => {
  test('theirs opens through our device', async () => {
    const secret = randomBytes(32);
    await writeFile(at('secret'), secret);
    await onDevice(async (commands) => {
      const { publicArea, handle } = await loadEk(commands, ek);
      const ak = await commands.createPrimary(ENDORSEMENT, AK);
      const name = nameOf(readPublicArea(ak.publicArea, AK, 'internal'));
      await writeFile(at('ek.pub'), sized(publicArea));
      const make = [
        '-Q',
        '-T',
        'none',
        '-u',
        at('ek.pub'),
        '-s',
        at('secret'),
        '-n',
        hex(name),
        '-o',
        at('blob'),
      ];
      await runTool(tpm, ['tpm2_makecredential', ...make]);
      const blob = new Reader(await readFile(at('blob')), 'internal');
      blob.take(8, 'magic, version');
      const credential = blob.sized16('credential');
      const session = ek.byPolicy ? await commands.endorsementSession() : undefined;
      const keys = { ak: ak.handle, ek: handle, session };
      expect(await commands.activateCredential(keys, credential, blob.sized16('seed'))).toEqual(secret);
    });
  });

  test('ours opens with tpm2_activatecredential', async () => {
    const ak = await toolAk();
    const context = ek.persistent === undefined ? at('ek.ctx') : `0x${ek.persistent.toString(16)}`;
    if (ek.persistent === undefined)
      await tool('tpm2_createek', '-Q', '-G', 'ecc', '-c', at('ek.ctx'), '-u', at('ek.pub'));
    else await tool('tpm2_readpublic', '-Q', '-c', context, '-f', 'tss', '-o', at('ek.pub'));
    const area = readPublicArea((await readFile(at('ek.pub'))).subarray(2), ek.template, 'internal');
    const secret = randomBytes(32);
    const { credential, encryptedSeed } = makeCredential(area, nameOf(ak), secret);
    await writeFile(at('blob'), concat(u32(0xbadcc0de), u32(1), sized(credential), sized(encryptedSeed)));
    await tool('tpm2_startauthsession', '--policy-session', '-S', at('session'));
    await tool('tpm2_policysecret', '-Q', '-S', at('session'), '-c', 'e');
    const auth = ek.byPolicy ? ['-P', `session:${at('session')}`] : [];
    await tool(
      'tpm2_activatecredential',
      '-Q',
      '-c',
      at('ak.ctx'),
      '-C',
      context,
      '-i',
      at('blob'),
      '-o',
      at('out'),
      ...auth,
    );
    expect(await readFile(at('out'))).toEqual(secret);
    await tool('tpm2_flushcontext', at('session'));
  });

  test('ours for another AK does not open', async () => {
    await onDevice(async (commands) => {
      const { publicArea, handle } = await loadEk(commands, ek);
      const ak = await commands.createPrimary(ENDORSEMENT, AK);
      const name = concat(Uint8Array.of(0, 0x0b), new Uint8Array(32));
      const made = makeCredential(readPublicArea(publicArea, ek.template, 'internal'), name, randomBytes(32));
      const session = ek.byPolicy ? await commands.endorsementSession() : undefined;
      const open = commands.activateCredential(
        { ak: ak.handle, ek: handle, session },
        made.credential,
        made.encryptedSeed,
      );
      await expect(open).rejects.toThrow('TPM2_ActivateCredential failed');
    });
  });
});

test('T40 credentials open whose points begin with zero bytes, the EK’s and ours', async () => {
  await onDevice(async (commands) => {
    const { publicArea, handle } = await ekWithLeadingZero(commands);
    const area = readPublicArea(publicArea, EK_P256, 'internal');
    const ak = await commands.createPrimary(ENDORSEMENT, AK);
    const name = nameOf(readPublicArea(ak.publicArea, AK, 'internal'));
    const secret = randomBytes(32);
    const made = credentialWithLeadingZero(area, name, secret);
    const keys = { ak: ak.handle, ek: handle, session: await commands.endorsementSession() };
    expect(await commands.activateCredential(keys, made.credential, made.encryptedSeed)).toEqual(secret);
  });
});

/** Another `unique` in the template derives another key: one in 256 begins with a zero byte. */
async function ekWithLeadingZero(commands: TpmCommands): Promise<TpmObject> {
  for (;;) {
    const unique = concat(sized(randomBytes(32)), sized(randomBytes(32)));
    const ek = await commands.createPrimary(ENDORSEMENT, { ...EK_P256, unique });
    if (readPublicArea(ek.publicArea, EK_P256, 'internal').unique[0] === 0) return ek;
    await commands.flush(ek.handle);
  }
}

function credentialWithLeadingZero(ek: PublicArea, name: Uint8Array, secret: Uint8Array) {
  for (;;) {
    const made = makeCredential(ek, name, secret);
    if (made.encryptedSeed[2] === 0) return made;
  }
}

test('our quote passes tpm2_checkquote, and with another nonce does not', async () => {
  const nonce = randomBytes(32);
  await onDevice(async (commands) => {
    const ak = await commands.createPrimary(ENDORSEMENT, AK);
    const quote = await commands.quote(ak.handle, nonce, writeSelection([0, 1, 7]));
    await writeFile(at('quote'), quote.attest);
    await writeFile(at('signature'), quote.signature);
    await writeFile(
      at('ak.pem'),
      writePem('PUBLIC KEY', spkiOf(readPublicArea(ak.publicArea, AK, 'internal'))),
    );
  });
  const check = [
    'tpm2_checkquote',
    '-u',
    at('ak.pem'),
    '-m',
    at('quote'),
    '-s',
    at('signature'),
    '-g',
    'sha256',
    '-q',
  ];
  await tool(...check, hex(nonce));
  await expect(tool(...check, hex(randomBytes(32)))).rejects.toThrow();
});

test('their quote passes our verification, and without what we asked does not', async () => {
  const ak = await toolAk();
  const nonce = randomBytes(32);
  const values = new Uint8Array(3 * 32);
  const asked = { context: at('ak.ctx'), selection: 'sha256:0,1,7', nonce: hex(nonce), at };
  const quote = await quoteByTool(tpm, asked);
  const verified = verifyQuote(quote, values, [0, 1, 7], speakerOf(ak, nonce));
  expect([...verified.pcrs.keys()]).toEqual([0, 1, 7]);
  const fewer = async () => verifyQuote(quote, values.subarray(32), [0, 1], speakerOf(ak, nonce));
  await expectRefusal(fewer(), { status: 'U', code: 'pcr_selection', says: /another selection/ });
});

test.each(['rsa', 'ecc'])(
  'their AK under the EK (%s) is none of ours: no primary, another qualified name',
  async (algorithm) => {
    await tool('tpm2_createek', '-Q', '-G', 'rsa', '-c', at('ek.ctx'));
    const make = [
      '-C',
      at('ek.ctx'),
      '-c',
      at('child.ctx'),
      '-G',
      algorithm,
      '-g',
      'sha256',
      '-u',
      at('child.pub'),
    ];
    await tool('tpm2_createak', '-Q', ...make, '-s', algorithm === 'rsa' ? 'rsassa' : 'ecdsa', '-f', 'tss');
    const bytes = (await readFile(at('child.pub'))).subarray(2);
    if (algorithm === 'rsa')
      return expectRefusal((async () => readPublicArea(bytes, AK, 'ak_template'))(), {
        status: 'U',
        code: 'ak_template',
        says: /not the template AK P-256: it is RSA, not ECC$/,
      });
    const nonce = randomBytes(32);
    const asked = { context: at('child.ctx'), selection: 'sha256:0', nonce: hex(nonce), at };
    const quote = await quoteByTool(tpm, asked);
    const speaker = speakerOf(readPublicArea(bytes, AK, 'ak_template'), nonce);
    const verify = async () => verifyQuote(quote, new Uint8Array(32), [0], speaker);
    await expectRefusal(verify(), {
      status: 'U',
      code: 'ak_mixed',
      says: /no primary of the endorsement hierarchy/,
    });
  },
);

test('T32 tpm2_certify cannot bind anything: refused', async () => {
  const ak = await toolAk();
  const key = [
    '-G',
    'ecc256:ecdsa-sha256',
    '-a',
    'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign',
  ];
  await tool('tpm2_createprimary', '-Q', '-C', 'o', '-g', 'sha256', ...key, '-c', at('key.ctx'));
  await tool('tpm2_readpublic', '-Q', '-c', at('key.ctx'), '-f', 'tss', '-o', at('key.pub'));
  await tool(
    'tpm2_certify',
    '-Q',
    '-c',
    at('key.ctx'),
    '-C',
    at('ak.ctx'),
    '-g',
    'sha256',
    '-o',
    at('c'),
    '-s',
    at('cs'),
  );
  const area = readPublicArea((await readFile(at('key.pub'))).subarray(2), TPM_KEY, 'internal');
  const certify = { attest: await readFile(at('c')), signature: await readFile(at('cs')) };
  const verify = async () => verifyCertify(certify, area, speakerOf(ak, randomBytes(32)));
  await expectRefusal(verify(), { status: 'U', code: 'nonce_mismatch', says: /another nonce/ });
  verifyCertify(certify, area, speakerOf(ak, Uint8Array.of(0x00, 0xff, 0x55, 0xaa)));
});

test('our key file is the one that tpm2_encodeobject writes, and their loader takes it', async () => {
  const { pem = '' } = (await sourceOf(tpm, { key: 'tpm' }).createKey?.()) ?? {};
  const [der = new Uint8Array()] = readPem(pem, 'TSS2 PRIVATE KEY', 'internal');
  const areas = splitKeyFile(der);
  await writeFile(at('k.pub'), areas.publicArea);
  await writeFile(at('k.priv'), areas.privateArea);
  await makeStorageKey(tpm, at('srk.ctx'));
  await tool(
    'tpm2_encodeobject',
    '-C',
    at('srk.ctx'),
    '-u',
    at('k.pub'),
    '-r',
    at('k.priv'),
    '-o',
    at('theirs.pem'),
  );
  const [theirs = new Uint8Array()] = readPem(
    await readFile(at('theirs.pem'), 'utf8'),
    'TSS2 PRIVATE KEY',
    'internal',
  );
  // They leave emptyAuth FALSE; TRUE tells the loader not to ask for a password.
  const flag = 3 + 8 + 4;
  expect(theirs[flag]).toBe(0);
  const expected = Uint8Array.from(theirs);
  expected[flag] = 0xff;
  expect(hex(der)).toBe(hex(expected));
  // Their storage key under the owner is the parent that our file names.
  const load = ['tpm2_load', '-C', at('srk.ctx'), '-u', at('k.pub'), '-c', at('loaded.ctx'), '-r'];
  await tool(...load, at('k.priv'));
  const broken = Uint8Array.from(areas.privateArea, (byte, i) => (i === 40 ? byte ^ 1 : byte));
  await writeFile(at('broken.priv'), broken);
  await expect(tool(...load, at('broken.priv'))).rejects.toThrow('integrity');
});

/** The two OCTET STRINGs at the end: TPM2B_PUBLIC of 90 bytes, TPM2B_PRIVATE behind a two-byte length. */
function splitKeyFile(der: Uint8Array): { publicArea: Uint8Array; privateArea: Uint8Array } {
  const start = asBuffer(der).indexOf(Buffer.from('045a0058', 'hex')) + 2;
  return { publicArea: der.subarray(start, start + 90), privateArea: der.subarray(start + 90 + 3) };
}
