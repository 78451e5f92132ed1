/** A test CA with one identity, `w` of platform unix, and strangers that are closed after each test. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../ca/ca.ts';
import { connectFrom, fallSilent, type Stranger, stranger } from './stranger.ts';

export const WORKLOAD = `spiffe://${TRUST_DOMAIN}/w`;

export interface Flooded {
  /** From the first test on. */
  readonly ca: () => TestCa;
  /** A stranger from that address, over TLS. */
  readonly from: (address: string) => Stranger;
  /** A TCP connection from there that begins a handshake by a byte; the answer says whether it is still open. */
  readonly silent: (address: string, port?: number) => () => boolean;
}

export function floodedCa(limits: object): Flooded {
  let ca: TestCa;
  const open: { close(): void }[] = [];
  beforeAll(async () => {
    ca = await startTestCa({ limits });
    await ca.apply({ kind: 'Identity', name: 'w', platform: 'unix', id: WORKLOAD });
  });
  afterEach(() => {
    for (const each of open.splice(0)) each.close();
  });
  afterAll(() => ca.close());
  return {
    ca: () => ca,
    from: (address) => {
      const made = stranger(address, ca.running.port);
      open.push(made);
      return made;
    },
    silent: (address, port = ca.running.port) => {
      const socket = fallSilent(connectFrom(address, port)).resume();
      open.push({ close: () => socket.destroy() });
      return () => !socket.closed;
    },
  };
}
