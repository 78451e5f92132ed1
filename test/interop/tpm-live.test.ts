/** Our agent and our CA over a real TPM: every kind of endorsement key, both kinds of certified key, and its life. */
import { createPublicKey, verify } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TpmCommands } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm } from '@chancery/agent/evidence/tpm/device.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { asBuffer, hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { readPublicArea, spkiOf } from '@chancery/shared/tpm/public-area.ts';
import { AK, EK_P256 } from '@chancery/shared/tpm/templates.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EV, event, extended, writeEventLog } from '../kit/tpm/event-log.ts';
import { attestLive, attestorOf, sourceOf } from '../kit/tpm/live-tpm.ts';
import { makeManufacturer } from '../kit/tpm/manufacturer.ts';
import { makeSoftwareTpm, runTool, type SoftwareTpm } from '../kit/tpm/swtpm.ts';
import { expectRefusal, memoryOf } from '../kit/tpm/tpm-attestor.ts';

let tpm: SoftwareTpm;
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
});
afterAll(async () => {
  await tpm.stop();
});

test('a key in memory, again and again, leaves nothing in the TPM', async () => {
  const source = sourceOf(tpm);
  const attestor = attestorOf(tpm);
  const first = await attestLive(source, attestor);
  expect(first.attributes).toMatchObject({ manufacturer: 'id:00001014', model: 'swtpm', key: 'software' });
  for (let i = 0; i < 4; i++) expect((await attestLive(source, attestor)).node).toBe(first.node);
  expect(await runTool(tpm, ['tpm2_getcap', 'handles-transient'])).toBe('');
  expect(await runTool(tpm, ['tpm2_getcap', 'handles-loaded-session'])).toBe('');
});

test('a key in the TPM is certified, and signs', async () => {
  const source = sourceOf(tpm, { key: 'tpm' });
  const { attributes } = await attestLive(source, attestorOf(tpm, { softwareKeys: false }));
  expect(attributes).toMatchObject({ key: 'tpm' });
  const key = await source.createKey?.();
  const data = utf8('signed where the key lives');
  const publicKey = createPublicKey({ key: asBuffer(key?.spki ?? data), format: 'der', type: 'spki' });
  expect(verify('sha256', data, publicKey, (await key?.sign(data)) ?? data)).toBe(true);
});

test('a source that keeps keys in the TPM knows no others', async () => {
  const begin = sourceOf(tpm, { key: 'tpm' }).begin(new Uint8Array(91), new AbortController().signal);
  await expect(begin).rejects.toMatchObject({ code: 'tpm_device', message: 'the TPM has not made this key' });
});

test('what a killed agent left in the TPM does not stop the next', async () => {
  const device = await openTpm(tpm.device);
  const commands = new TpmCommands(device);
  for (let i = 0; i < 3; i++) await commands.createPrimary(ENDORSEMENT, AK);
  await commands.endorsementSession();
  device.close();
  await attestLive(sourceOf(tpm), attestorOf(tpm));
});

test('two exchanges of one agent wait for each other', async () => {
  const source = sourceOf(tpm);
  const attestor = attestorOf(tpm);
  const [a, b] = await Promise.all([attestLive(source, attestor), attestLive(source, attestor)]);
  expect(a).toEqual(b);
});

test('an exchange that is given up frees the device', async () => {
  const source = sourceOf(tpm);
  const gone = new AbortController();
  const exchange = await source.begin(new Uint8Array(), gone.signal);
  gone.abort();
  await expect(exchange.end()).rejects.toMatchObject({ code: 'tpm_device' });
  await attestLive(source, attestorOf(tpm));
});

test('T38 a TPM that dies in the middle gives no certificate, and a new exchange works', async () => {
  const source = sourceOf(tpm);
  const attestor = attestorOf(tpm);
  const attempt = attestLive(source, attestor, {
    answer: async () => {
      await tpm.kill();
      return new Uint8Array();
    },
  });
  await expect(attempt).rejects.toMatchObject({ code: 'tpm_device' });
  await tpm.start();
  await attestLive(source, attestor);
});

test('T34 a TPM put back to a snapshot', async () => {
  const memory = memoryOf();
  const attestor = attestorOf(tpm, {}, memory);
  await tpm.shutDown();
  const snapshot = await tpm.clone();
  try {
    for (let i = 0; i < 3; i++) {
      await tpm.start();
      await attestLive(sourceOf(tpm), attestor);
      await tpm.shutDown();
    }
    await tpm.start();
    const says = /^resets go from \d+ to \d+: the TPM was put back to an older state, or cleared; .* forget/;
    await expectRefusal(attestLive(sourceOf(snapshot), attestor), { status: 'U', code: 'rollback', says });
  } finally {
    await snapshot.stop();
  }
});

test('a software TPM that was killed is refused until its clock has passed what was seen', async () => {
  const attestor = attestorOf(tpm);
  const seen = 36_000_000;
  // The first authorisation after a start is what swtpm stores its state for.
  await attestLive(sourceOf(tpm), attestor);
  await runTool(tpm, ['tpm2_setclock', '-c', 'o', String(seen)]);
  await attestLive(sourceOf(tpm), attestor);
  await tpm.kill();
  await tpm.start();
  const says =
    /^the clock goes from 3600\d{4} to \d{1,7} ms: .* a software TPM that was killed; .* 3[56]\d{3} s more, or its owner/;
  await expectRefusal(attestLive(sourceOf(tpm), attestor), { status: 'U', code: 'rollback', says });
  await runTool(tpm, ['tpm2_setclock', '-c', 'o', String(seen + 60_000)]);
  await attestLive(sourceOf(tpm), attestor);
});

test('PCRs that the log explains, and that it does not', async () => {
  const path = join(tpm.device.slice('unix:'.length), '..', 'eventlog');
  const boot = [event(4, EV.ipl, 'loader'), event(7, EV.separator, '\0\0\0\0')];
  for (const { pcr, digest } of boot) await runTool(tpm, ['tpm2_pcrextend', `${pcr}:sha256=${hex(digest)}`]);
  const source = sourceOf(tpm, { eventLog: path });
  const attestor = attestorOf(tpm, { eventLog: 'required' });
  await writeFile(path, writeEventLog(boot));
  const { attributes } = await attestLive(source, attestor);
  expect(attributes).toMatchObject({
    pcr4: hex(extended(boot)[4] ?? new Uint8Array()),
    pcr0: '00'.repeat(32),
  });
  await writeFile(path, writeEventLog(boot.slice(1)));
  await expectRefusal(attestLive(source, attestor), { status: 'U', code: 'eventlog', says: /makes PCR 4/ });
  await tpm.reboot();
  const lost = sourceOf(tpm, { eventLog: `${path}.none` }).begin(
    new Uint8Array(),
    new AbortController().signal,
  );
  await expect(lost).rejects.toThrow('eventlog.none: no such file or folder');
});

describe('without its RSA certificate', () => {
  beforeAll(async () => {
    await runTool(tpm, ['tpm2_nvundefine', '-C', 'p', '0x01C00002']);
  });

  test('the P-384 endorsement key of the manufacturer', async () => {
    const { node } = await attestLive(sourceOf(tpm), attestorOf(tpm));
    expect(node).toHaveLength(64);
  });

  test('a P-256 endorsement key, derived because it is not persistent', async () => {
    const device = await openTpm(tpm.device);
    const { publicArea } = await new TpmCommands(device).createPrimary(ENDORSEMENT, EK_P256);
    device.close();
    const manufacturer = makeManufacturer();
    const spki = spkiOf(readPublicArea(publicArea, EK_P256, 'internal'));
    await writeCertificate('0x01C0000A', manufacturer.certify(spki));
    const roots = [await fileBeside('root.pem', utf8(manufacturer.rootPem))];
    const source = sourceOf(tpm, { key: 'tpm' });
    expect((await attestLive(source, attestorOf(tpm, { roots }))).attributes).toMatchObject({
      model: 'fake',
      key: 'tpm',
    });
    const stranger = makeManufacturer();
    const others = [
      await fileBeside('other.pem', utf8(writePem('CERTIFICATE', stranger.certify(spki, { ca: true })))),
    ];
    const attempt = attestLive(source, attestorOf(tpm, { roots: others }));
    await expectRefusal(attempt, { status: 'U', code: 'ek_chain', says: /does not end at a trusted root/ });
  });
});

async function fileBeside(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(tpm.device.slice('unix:'.length), '..', name);
  await writeFile(path, bytes);
  return path;
}

async function writeCertificate(index: string, der: Uint8Array): Promise<void> {
  const path = await fileBeside('ek.der', der);
  await runTool(tpm, ['tpm2_flushcontext', '-t']);
  const attributes = 'ownerwrite|ownerread|authread|ppread|no_da';
  await runTool(tpm, ['tpm2_nvdefine', '-C', 'o', '-s', String(der.length + 40), '-a', attributes, index]);
  await runTool(tpm, ['tpm2_nvwrite', '-C', 'o', '-i', path, index]);
}
