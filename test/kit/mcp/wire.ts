/** The network between connect and a gateway, which a test cuts. */
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';

/** The caller closes it. */
export interface Wire {
  readonly port: number;
  /** Ends all connections at once, or each after it has carried so many bytes to the client. */
  cut(afterBytes?: number): void;
  close(): void;
}

/** The network between connect and the gateway. */
export async function startWire(to: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let left = Number.POSITIVE_INFINITY;
  const between = createServer((near) => {
    const far = connectTcp(to, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (bytes: Buffer) => far.write(bytes));
    far.on('data', (bytes: Buffer) => {
      near.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) near.end();
    });
  }).listen(0, '127.0.0.1');
  await once(between, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (between.address() as AddressInfo).port,
    cut(afterBytes) {
      left = afterBytes ?? Number.POSITIVE_INFINITY;
      if (afterBytes === undefined) cut();
    },
    close() {
      cut();
      between.close();
    },
  };
}
