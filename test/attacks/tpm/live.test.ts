/** T6, T7, T18 and T20: what real TPMs are willing to do for an attacker, and what becomes of it. */
import { hash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SignedStatement, TpmCommands } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm } from '@chancery/agent/evidence/tpm/device.ts';
import {
  packAnswer,
  packQuestion,
  type TpmOpening,
  unpackAnswer,
  unpackQuestion,
} from '@chancery/shared/evidence/tpm.ts';
import { asBuffer, concat, equal, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { generateKey } from '@chancery/shared/keys/key.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { makeCredential } from '@chancery/shared/tpm/credential.ts';
import { readPublicArea } from '@chancery/shared/tpm/public-area.ts';
import { AK, EK_RSA_2048 } from '@chancery/shared/tpm/templates.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAreaKey, sized } from '../../kit/tpm/fake-tpm.ts';
import { attestLive, attestorOf, sourceOf } from '../../kit/tpm/live-tpm.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../../kit/tpm/swtpm.ts';
import { makeStorageKey, runAndFlush } from '../../kit/tpm/tools.ts';
import { expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let tpm: SoftwareTpm;
let other: SoftwareTpm;
let dir: string;
beforeAll(async () => {
  [tpm, other] = await Promise.all([makeSoftwareTpm(), makeSoftwareTpm()]);
  dir = await mkdtemp(join(tmpdir(), 'hostile-'));
});
afterAll(async () => {
  await Promise.all([tpm.stop(), other.stop()]);
  await rm(dir, { recursive: true });
});

const at = (name: string): string => join(dir, name);
const tool = (...command: readonly string[]): Promise<string> => runAndFlush(tpm, ...command);

test('T7 a software key that claims to be an AK: the TPM will not open its credential', async () => {
  const claimed = makeAreaKey(AK);
  const opening = (o: TpmOpening): TpmOpening => ({ ...o, akPublic: claimed.area });
  await expect(attestLive(sourceOf(tpm), attestorOf(tpm), { opening })).rejects.toThrow(
    'TPM2_ActivateCredential failed',
  );
  const guess = { attest: new Uint8Array(), signature: new Uint8Array() };
  const answer = async () =>
    packAnswer({ proof: randomBytes(32), quote: guess, pcrValues: new Uint8Array(), certify: guess });
  const attempt = attestLive(sourceOf(tpm), attestorOf(tpm), { opening, answer });
  await expectRefusal(attempt, { status: 'U', code: 'activation_failed', says: /EK and AK share no TPM/ });
});

/** A quote by the other TPM's own AK, over whatever it is asked. */
async function quoteElsewhere(binding: Uint8Array): Promise<SignedStatement> {
  const device = await openTpm(other.device);
  const commands = new TpmCommands(device);
  const ak = await commands.createPrimary(ENDORSEMENT, AK);
  const quote = await commands.quote(ak.handle, binding, writeSelection([0, 1, 2, 3, 4, 5, 6, 7]));
  await commands.flushAll();
  device.close();
  return quote;
}

test('T18 the credential opened by one TPM, the quote made by another', async () => {
  const attempt = attestLive(sourceOf(tpm), attestorOf(tpm), {
    answer: async (question, binding, exchange) => {
      const genuine = unpackAnswer(await exchange.answer(question, binding));
      return packAnswer({ ...genuine, quote: await quoteElsewhere(binding) });
    },
  });
  await expectRefusal(attempt, { status: 'U', code: 'ak_mixed', says: /by another key than the AK/ });
});

test('T20 a real quote over nothing', async () => {
  const attempt = attestLive(sourceOf(tpm), attestorOf(tpm), {
    answer: async (question, binding, exchange) => {
      const asked = unpackQuestion(question);
      return exchange.answer(packQuestion({ ...asked, selection: u32(0) }), binding);
    },
  });
  await expectRefusal(attempt, {
    status: 'U',
    code: 'pcr_selection',
    says: /another selection than was asked/,
  });
});

test('T6 an imported software key: a real TPM activates it as an AK, the CA does not', async () => {
  const pem = generateKey().export({ type: 'sec1', format: 'pem' });
  await writeFile(at('soft.pem'), pem);
  await makeStorageKey(tpm, at('srk.ctx'));
  const area = ['-a', 'userwithauth|restricted|sign', '-u', at('soft.pub'), '-r', at('soft.priv')];
  await tool(
    'tpm2_import',
    '-Q',
    '-C',
    at('srk.ctx'),
    '-G',
    'ecc256:ecdsa-sha256:null',
    '-i',
    at('soft.pem'),
    ...area,
  );
  await tool(
    'tpm2_load',
    '-Q',
    '-C',
    at('srk.ctx'),
    '-u',
    at('soft.pub'),
    '-r',
    at('soft.priv'),
    '-c',
    at('soft.ctx'),
  );
  const akPublic = (await readFile(at('soft.pub'))).subarray(2);
  expect(asBuffer(akPublic).readUInt32BE(4)).toBe(0x0005_0040);
  expect(await activates(akPublic)).toBe(true);
  const opening = (o: TpmOpening): TpmOpening => ({ ...o, akPublic });
  const attempt = attestLive(sourceOf(tpm), attestorOf(tpm), { opening });
  await expectRefusal(attempt, { status: 'U', code: 'ak_attributes', says: /may be a key from outside/ });
});

/** Whether the TPM opens a credential that was made for this AK. */
async function activates(akPublic: Uint8Array): Promise<boolean> {
  await tool('tpm2_readpublic', '-Q', '-c', '0x81010001', '-f', 'tss', '-o', at('ek.pub'));
  const ek = readPublicArea((await readFile(at('ek.pub'))).subarray(2), EK_RSA_2048, 'internal');
  const name = concat(u16(0x0b), hash('sha256', akPublic, 'buffer'));
  const secret = randomBytes(32);
  const { credential, encryptedSeed } = makeCredential(ek, name, secret);
  await writeFile(at('blob'), concat(u32(0xbadcc0de), u32(1), sized(credential), sized(encryptedSeed)));
  await tool('tpm2_startauthsession', '--policy-session', '-S', at('session'));
  await tool('tpm2_policysecret', '-Q', '-S', at('session'), '-c', 'e');
  const keys = ['-c', at('soft.ctx'), '-C', '0x81010001', '-P', `session:${at('session')}`];
  await tool('tpm2_activatecredential', '-Q', ...keys, '-i', at('blob'), '-o', at('out'));
  return equal(await readFile(at('out')), secret);
}
