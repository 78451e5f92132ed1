/**
 * T38: TPMs that are slow, busy, locked or dead. The agent says so and has no evidence; the next exchange is
 * a new one.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EvidenceConfig, openEvidence } from '@chancery/agent/evidence/index.ts';
import { TpmCommands } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm, tpmOver } from '@chancery/agent/evidence/tpm/device.ts';
import { openTpmFile } from '@chancery/agent/evidence/tpm/device-file.ts';
import { findEndorsementKey } from '@chancery/agent/evidence/tpm/endorsement.ts';
import { tpmEvidence } from '@chancery/agent/evidence/tpm.ts';
import { concat, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const response = (code: number, body: Uint8Array = new Uint8Array()): Uint8Array =>
  concat(u16(0x8001), u32(10 + body.length), u32(code), body);
const OK = response(0);
const RETRY = response(0x922);
const COMMAND = response(0x17b);

let dir: string;
let server: Server | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tpm-'));
});
afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(dir, { recursive: true });
});

/** Answers each command by `answer`, until the client hangs up. */
async function serve(answer: (socket: Socket, n: number) => void): Promise<string> {
  let n = 0;
  const path = join(dir, 'sock');
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => answer(socket, n++));
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
  return `unix:${path}`;
}

const pauses: number[] = [];
const timing = { timeoutMs: 5_000, sleep: async (ms: number) => void pauses.push(ms) };

describe('T38 a software TPM', () => {
  test('that answers in pieces is understood', async () => {
    const device = await openTpm(
      await serve((socket) => {
        socket.write(OK.subarray(0, 3));
        setImmediate(() =>
          socket.write(OK.subarray(3, 7), () => setImmediate(() => socket.write(OK.subarray(7)))),
        );
      }),
    );
    expect(await device.transmit(COMMAND)).toEqual(OK);
    device.close();
  });

  test('gets one command at a time', async () => {
    let busy = false;
    const device = await openTpm(
      await serve((socket, n) => {
        expect(busy).toBe(false);
        busy = true;
        setImmediate(() => {
          busy = false;
          socket.write(response(n));
        });
      }),
    );
    const all = await Promise.all([1, 2, 3].map(() => device.transmit(COMMAND)));
    expect(all).toEqual([response(0), response(1), response(2)]);
    device.close();
  });

  test('that asks to be asked again is, with growing pauses', async () => {
    pauses.length = 0;
    const device = await openTpm(await serve((socket, n) => socket.write(n < 3 ? RETRY : OK)), timing);
    expect(await device.transmit(COMMAND)).toEqual(OK);
    expect(pauses).toEqual([20, 40, 80]);
    device.close();
  });

  test('that asks for ever is given up', async () => {
    pauses.length = 0;
    const device = await openTpm(await serve((socket) => socket.write(RETRY)), timing);
    await expect(device.transmit(COMMAND)).rejects.toMatchObject({
      code: 'tpm_device',
      message: 'the TPM asked 9 times to be asked again',
    });
    expect(pauses).toHaveLength(9);
    device.close();
  });

  test('that does not answer in time is dropped, and no later command waits for it', async () => {
    let closed = false;
    const device = await openTpm(await serve((socket) => socket.on('close', () => (closed = true))), {
      ...timing,
      timeoutMs: 20,
    });
    const late = /^the TPM did not answer within 20 ms$/;
    await expect(device.transmit(COMMAND)).rejects.toThrow(late);
    await expect(device.transmit(COMMAND)).rejects.toThrow(late);
    await expect.poll(() => closed).toBe(true);
  });

  test('that dies in the middle of a response', async () => {
    const device = await openTpm(await serve((socket) => socket.end(OK.subarray(0, 5))), timing);
    await expect(device.transmit(COMMAND)).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringContaining('hung up'),
    });
  });

  test('that hung up between two commands', async () => {
    const device = await openTpm(await serve((socket) => socket.end(OK)), timing);
    expect(await device.transmit(COMMAND)).toEqual(OK);
    await new Promise((resolve) => setImmediate(resolve));
    await expect(device.transmit(COMMAND)).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringContaining('hung up'),
    });
  });

  test('that says more than one response', async () => {
    const device = await openTpm(await serve((socket) => socket.write(concat(OK, OK))), timing);
    await expect(device.transmit(COMMAND)).rejects.toThrow('the TPM said more than its response of 10 bytes');
  });

  test('that announces a megabyte', async () => {
    const device = await openTpm(
      await serve((socket) => socket.write(concat(u16(0x8001), u32(1024 * 1024)))),
      timing,
    );
    await expect(device.transmit(COMMAND)).rejects.toThrow('announces a response of 1048576 bytes');
  });

  test('whose response is too short for its header', async () => {
    const device = await openTpm(await serve((socket) => socket.write(concat(u16(0x8001), u32(6)))), timing);
    await expect(device.transmit(COMMAND)).rejects.toThrow('the TPM answered 6 bytes');
    device.close();
  });

  test('that is locked out says so, and what to do', async () => {
    const device = await openTpm(await serve((socket) => socket.write(response(0x921))), timing);
    const sign = new TpmCommands(device).sign(1, new Uint8Array(32));
    await expect(sign).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringMatching(/TPM2_Sign: .*locked out.*tpm2_dictionarylockout/),
    });
    device.close();
  });

  test('that refuses a command names it', async () => {
    const device = await openTpm(await serve((socket) => socket.write(response(0x18b))), timing);
    await expect(new TpmCommands(device).flush(1)).rejects.toThrow(
      'TPM2_FlushContext failed with TPM_RC 0x18b',
    );
    device.close();
  });

  test('without an endorsement certificate', async () => {
    const device = await openTpm(await serve((socket) => socket.write(response(0x18b))), timing);
    await expect(findEndorsementKey(new TpmCommands(device))).rejects.toThrow(
      'the TPM has no supported endorsement certificate; get it from the manufacturer and name its file',
    );
    device.close();
  });

  test('that is closed answers nothing more', async () => {
    const device = await openTpm(await serve((socket) => socket.write(OK)), timing);
    device.close();
    await expect(device.transmit(COMMAND)).rejects.toThrow('the TPM is closed');
  });

  test('that is not there', async () => {
    await expect(openTpm(`unix:${dir}/none`)).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringContaining('no TPM answers at'),
    });
    await expect(openTpm('tcp:127.0.0.1:1')).rejects.toThrow('no TPM answers at tcp:127.0.0.1:1');
  });

  test('whose address is none', async () => {
    await expect(openTpm('swtpm:somewhere')).rejects.toThrow(
      'neither /dev/tpmrm0, unix:PATH nor tcp:HOST:PORT',
    );
  });

  const NV_WRITTEN = 0x2000_0000;
  test('whose certificate would be ten thousand bytes long', async () => {
    const area = concat(u32(0x01c00002), u16(0x0b), u32(NV_WRITTEN), u16(0), u16(10_000));
    const nvPublic = response(0, concat(u16(area.length), area));
    const device = await openTpm(await serve((socket) => socket.write(nvPublic)), timing);
    const says = 'NV index 1c00002 holds 10000 bytes';
    await expect(findEndorsementKey(new TpmCommands(device))).rejects.toThrow(says);
    device.close();
  });

  test('that fails frees the device for the next exchange', async () => {
    let open = 0;
    const device = await serve((socket) => socket.write(response(0x101)));
    server?.on('connection', (socket) => {
      open += 1;
      socket.on('close', () => (open -= 1));
    });
    const source = tpmEvidence({ device, key: 'memory' });
    const begin = () => source.begin(new Uint8Array(), new AbortController().signal);
    for (let i = 0; i < 3; i++)
      await expect(begin()).rejects.toThrow('TPM2_GetCapability failed with TPM_RC 0x101');
    await expect.poll(() => open).toBe(0);
    server?.close();
    await rm(device.slice('unix:'.length), { force: true });
    for (let i = 0; i < 3; i++) await expect(begin()).rejects.toThrow('no TPM answers at');
  });

  test('leaves no evidence when the exchange is given up', async () => {
    const device = await serve((socket) => socket.write(RETRY));
    const gone = AbortSignal.abort(new Error('given up'));
    await expect(tpmEvidence({ device, key: 'memory' }).begin(new Uint8Array(), gone)).rejects.toThrow(
      'given up',
    );
  });
});

describe('T38 the kernel’s device', () => {
  test('that is not there', async () => {
    await expect(openTpm(`${dir}/tpmrm0`)).rejects.toMatchObject({
      code: 'tpm_device',
      message: expect.stringContaining('group tss'),
    });
  });

  test('that ends early', async () => {
    const path = join(dir, 'device');
    await writeFile(path, '');
    const device = tpmOver(await openTpmFile(path), timing);
    await expect(device.transmit(COMMAND)).rejects.toThrow('the TPM ended its response early');
  });

  test('answers after what was written', async () => {
    // A file stands in for the device: what follows the command's bytes is read as its response.
    const path = join(dir, 'device');
    await writeFile(path, concat(COMMAND, OK));
    const device = tpmOver(await openTpmFile(path), timing);
    expect(await device.transmit(COMMAND)).toEqual(OK);
    device.close();
  });
});

test.each([
  { name: 'no platform', config: {}, says: 'name a platform, for instance' },
  {
    name: 'a device without a resource manager',
    config: { tpm: { device: '/dev/tpm0' } },
    says: 'use /dev/tpmrm0',
  },
  {
    name: 'no device at all',
    config: { tpm: { device: 'tpm' } },
    says: 'a device is /dev/tpmrm0, unix:PATH or tcp:HOST:PORT',
  },
])('a config of $name refuses', ({ config, says }) => {
  expect(JSON.stringify(EvidenceConfig.safeParse(config).error?.issues)).toContain(says);
});

const deps = { trustDomain: parseTrustDomain('test.example'), env: {}, clock: systemClock };

test('no platform, past the schema', () => {
  expect(() => openEvidence({}, deps)).toThrow('no platform is configured');
});

test('the config picks the source', async () => {
  expect(openEvidence(EvidenceConfig.parse({ tpm: {} }), deps)).toMatchObject({ platform: 'tpm' });
  const unix = openEvidence(EvidenceConfig.parse({ unix: {} }), deps);
  const exchange = await unix.begin(new Uint8Array(), new AbortController().signal);
  expect(exchange.opening).toHaveLength(0);
  await expect(exchange.answer(new Uint8Array(), new Uint8Array())).rejects.toMatchObject({
    code: 'out_of_order',
  });
  await exchange.end();
  await unix.close();
});
