import { expect, test } from 'vitest';
import { uidInTable } from './local-peer.ts';

/** /proc/net/tcp of a machine where uid 1000 has called port 8080 from port 45678, and uid 33 from 45679. */
const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F90 0100007F:B26E 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:B26E 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1
   3: 0100007F:B26F 0100007F:1F90 01 00000000:00000000 00:00000000 00000000    33        0 4 1
`;
const from = (remotePort: number, remoteAddress = '127.0.0.1') => ({
  remoteAddress,
  remotePort,
  localAddress: '127.0.0.1',
  localPort: 8080,
});

test("uidInTable finds the caller's end of the connection, not ours", () => {
  expect(uidInTable(table, from(45678))).toBe(1000);
  expect(uidInTable(table, from(45679))).toBe(33);
});

test.each([
  ['a port that is not there', from(45680)],
  ['another address', from(45678, '127.0.0.2')],
  ['a socket that has closed', { ...from(45678), remotePort: undefined }],
])('uidInTable knows nobody for %s', (_name, socket) => {
  expect(() => uidInTable(table, socket)).toThrow(expect.objectContaining({ code: 'peer_unknown' }));
});
