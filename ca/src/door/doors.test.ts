import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { openDoors } from './doors.ts';

test('I83 a connection that is refused for lack of places is told', async () => {
  const tell = vi.fn();
  const turnedAway = { tell, close: () => {} };
  const settings = { connections: 4, strangerConnections: 1, connectionsPerCaller: 1 };
  const doors = openDoors(settings, 4_096, { clock: new ManualClock(NOW), log: silentLog, turnedAway });
  const server = net.createServer((socket) => socket.on('error', () => {}));
  doors.tls.guard(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = Array.from({ length: 8 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  await vi.waitFor(() => expect(tell).toHaveBeenCalled(), 20_000);
  expect(tell).toHaveBeenCalledWith({ what: 'connections', whose: 'anyone' }, expect.any(String));
  for (const socket of sockets) socket.destroy();
  server.close();
});
