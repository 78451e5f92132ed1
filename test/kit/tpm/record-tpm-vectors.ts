/**
 * Records test/vectors/tpm from a fresh software TPM, by `node test/kit/tpm/record-tpm-vectors.ts`: real statements,
 * the good and those that a TPM as gladly makes although nobody should believe them.
 */
import { hash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SignedStatement, TpmCommands } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm } from '@chancery/agent/evidence/tpm/device.ts';
import { findEndorsementKey } from '@chancery/agent/evidence/tpm/endorsement.ts';
import { createTpmKey, loadTpmKey } from '@chancery/agent/evidence/tpm/key.ts';
import { concat, hex, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { ENDORSEMENT, OWNER } from '@chancery/shared/tpm/algorithms.ts';
import { writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { AK } from '@chancery/shared/tpm/templates.ts';
import { makeSoftwareTpm, runTool, type SoftwareTpm } from './swtpm.ts';

const DIR = join(import.meta.dirname, '../../vectors/tpm');
const written: Record<string, string> = {};

async function write(name: string, fields: Record<string, unknown>): Promise<void> {
  const text = `${JSON.stringify(fields, null, 2)}\n`;
  await writeFile(join(DIR, `${name}.json`), text);
  written[`${name}.json`] = hash('sha256', text);
}

async function on<T>(tpm: SoftwareTpm, use: (commands: TpmCommands) => Promise<T>): Promise<T> {
  const device = await openTpm(tpm.device);
  try {
    const commands = new TpmCommands(device);
    await commands.flushAll();
    return await use(commands);
  } finally {
    device.close();
  }
}

async function endorsement(tpm: SoftwareTpm, name: string): Promise<void> {
  const ek = await on(tpm, findEndorsementKey);
  const read = (paths: readonly string[]) => Promise.all(paths.map((path) => readFile(path, 'utf8')));
  await write(name, {
    kind: 'endorsement',
    certificate: hex(ek.certificate),
    area: hex(ek.publicArea),
    roots: await read(tpm.roots),
    intermediates: await read(tpm.intermediates),
  });
}

const binding = randomBytes(32);
const banks = (...list: readonly (readonly [number, string])[]): Uint8Array =>
  concat(u32(list.length), ...list.map(([alg, map]) => concat(u16(alg), u8(3), Buffer.from(map, 'hex'))));

interface Recorded {
  /** What it is refused with; undefined for a good one. */
  readonly code?: string;
  readonly fields: Record<string, string>;
}

function writeStatement(name: string, made: SignedStatement, { code, fields }: Recorded): Promise<void> {
  const kind = name.split('-')[1];
  const [attest, signature] = [hex(made.attest), hex(made.signature)];
  return write(name, { kind, code, binding: hex(binding), attest, signature, ...fields });
}

async function quotes(commands: TpmCommands): Promise<void> {
  const ak = await commands.createPrimary(ENDORSEMENT, AK);
  const stranger = await commands.createPrimary(OWNER, AK);
  const two = '00'.repeat(64);
  const asked = writeSelection([0, 7]);
  const twice = banks([0x0b, '010000'], [0x0b, '800000']);
  const code = 'pcr_selection';
  for (const { name, by = ak, selection = asked, values = '', ...refused } of [
    { name: 'good-quote', values: two },
    { name: 'wrong-quote-empty-selection', selection: banks(), code },
    { name: 'wrong-quote-no-pcr', selection: banks([0x0b, '000000']), code },
    { name: 'wrong-quote-inactive-bank', selection: banks([0x04, '810000']), code },
    { name: 'wrong-quote-bank-twice', selection: twice, values: two, code },
    { name: 'wrong-quote-owner-hierarchy', by: stranger, values: two, code: 'ak_mixed' },
  ]) {
    const made = await commands.quote(by.handle, binding, selection);
    await writeStatement(name, made, { ...refused, fields: { ak: hex(by.publicArea), values } });
  }
}

async function certifications(commands: TpmCommands): Promise<void> {
  await commands.flushAll();
  const ak = await commands.createPrimary(ENDORSEMENT, AK);
  const key = await loadTpmKey(commands, await createTpmKey(commands));
  const fields = { ak: hex(ak.publicArea), key: hex(key.publicArea) };
  const good = await commands.certify(key.handle, ak.handle, binding);
  await writeStatement('good-certify', good, { fields });
  const unbound = await commands.certify(key.handle, ak.handle, Buffer.from('00ff55aa', 'hex'));
  await writeStatement('wrong-certify-unbound', unbound, { code: 'nonce_mismatch', fields });
  const itself = await commands.certify(ak.handle, ak.handle, binding);
  await writeStatement('wrong-certify-another-key', itself, { code: 'certify_name', fields });
}

const tpm = await makeSoftwareTpm();
await endorsement(tpm, 'good-endorsement-rsa2048');
await on(tpm, async (commands) => {
  await quotes(commands);
  await certifications(commands);
});
await runTool(tpm, ['tpm2_flushcontext', '-t']);
await runTool(tpm, ['tpm2_nvundefine', '-C', 'p', '0x01C00002']);
await endorsement(tpm, 'good-endorsement-p384');
const version = await runTool(tpm, ['swtpm', '--version']);
await tpm.stop();
const provenance = {
  by: 'test/kit/tpm/record-tpm-vectors.ts',
  from: version.trim(),
  on: new Date().toISOString().slice(0, 10),
};
await writeFile(join(DIR, 'manifest.json'), `${JSON.stringify({ provenance, sha256: written }, null, 2)}\n`);
