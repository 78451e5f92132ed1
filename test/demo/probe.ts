/** Asks the gateway's TLS port what it speaks, as any TLS stack would: with the files that the client's agent wrote. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import type { World } from './world.ts';

export function probeTls({ gatewayPort, client }: World): Promise<string> {
  const file = (name: string) => readFileSync(join(client.dir, 'out', name));
  const identity = { cert: file('svid.pem'), key: file('key.pem'), ca: file('bundle.pem') };
  const where = { host: '127.0.0.1', port: gatewayPort, checkServerIdentity: () => undefined };
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ ...identity, ...where }, () => {
      const key = socket.getEphemeralKeyInfo();
      const group = key !== null && 'name' in key ? key.name : 'a group that this Node does not tell';
      const told = `${socket.getProtocol()} ${socket.getCipher().name} ${group}`;
      socket.destroy();
      resolve(told);
    });
    socket.once('error', reject);
  });
}
