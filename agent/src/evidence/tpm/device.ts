/**
 * A TPM as a pipe for raw commands: one at a time, with a time limit, and a bounded number of repeats if the TPM asks
 * for them. After a timeout or a broken response every command fails at once.
 */
import { setTimeout as sleepFor } from 'node:timers/promises';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import { openTpmFile } from './device-file.ts';
import { openTpmSocket } from './device-socket.ts';
import type { TpmTransport } from './transport.ts';

export interface TpmDevice {
  /** Commands queue up. Throws tpm_device. */
  transmit(command: Uint8Array): Promise<Uint8Array>;
  /** Closes the transport. Commands that are not answered fail with tpm_device. */
  close(): void;
}

export interface DeviceTiming {
  /** For one command. An RSA key on a small chip takes tens of seconds. */
  readonly timeoutMs: number;
  readonly sleep: (ms: number) => Promise<unknown>;
}

const DEVICE_TIMING: DeviceTiming = { timeoutMs: 60_000, sleep: (ms) => sleepFor(ms) };

/** Part 2, 6.6.3: TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY. */
const ASK_AGAIN: readonly number[] = [0x908, 0x90a, 0x922];
const FIRST_PAUSE_MS = 20;
/** 20 ms doubling: five seconds in all. */
const MAX_ATTEMPTS = 9;
const HEADER_BYTES = 10;

/** `/dev/tpmrm0`, `unix:PATH` or `tcp:HOST:PORT`. The caller closes it. Throws tpm_device. */
export async function openTpm(device: string, timing: DeviceTiming = DEVICE_TIMING): Promise<TpmDevice> {
  const transport = device.startsWith('/') ? await openTpmFile(device) : await openTpmSocket(device);
  return tpmOver(transport, timing);
}

/** A device over a transport that is already open; closing the device destroys the transport. */
export function tpmOver(transport: TpmTransport, timing: DeviceTiming): TpmDevice {
  const turns = new Turns(1);
  let broken: unknown;
  const attempt = async (command: Uint8Array): Promise<Uint8Array> => {
    if (broken !== undefined) throw broken;
    try {
      return await withTimeout(transport, command, timing.timeoutMs);
    } catch (error) {
      broken = error;
      transport.destroy();
      throw error;
    }
  };
  return {
    transmit: (command) => turns.run(() => untilAnswered(() => attempt(command), timing.sleep)),
    close() {
      broken ??= new IdentityError('tpm_device', 'the TPM is closed');
      transport.destroy();
    },
  };
}

async function untilAnswered(
  attempt: () => Promise<Uint8Array>,
  sleep: DeviceTiming['sleep'],
): Promise<Uint8Array> {
  for (let n = 1, pause = FIRST_PAUSE_MS; n <= MAX_ATTEMPTS; n++, pause *= 2) {
    const response = await attempt();
    if (!ASK_AGAIN.includes(responseCode(response))) return response;
    await sleep(pause);
  }
  throw new IdentityError('tpm_device', `the TPM asked ${MAX_ATTEMPTS} times to be asked again`);
}

async function withTimeout(transport: TpmTransport, command: Uint8Array, ms: number): Promise<Uint8Array> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new IdentityError('tpm_device', `the TPM did not answer within ${ms} ms`)),
    ms,
  );
  try {
    return await Promise.race([transport.exchange(command), promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Part 1, section 18.4: tag u16, size u32, response code u32. */
export function responseCode(response: Uint8Array): number {
  ensure(response.length >= HEADER_BYTES, 'tpm_device', `the TPM answered ${response.length} bytes`);
  return asBuffer(response).readUInt32BE(6);
}
