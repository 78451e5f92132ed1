import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { ownCallers } from './own-callers.ts';
import { listenPrivately } from './private-socket.ts';

let dir: string;
let path: string;
let server: Server;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'own-'));
  path = join(dir, 'sock');
  server = createServer();
  await listenPrivately(server, { path, mode: 0o600, advice: '' });
});
afterEach(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

test('the kernel is asked where it can be', () => {
  expect(ownCallers(path, [0])).toMatchObject({ named: true });
});

test.each([
  ['a socket that a group may write', 0o700, 0o620, /sock has mode 620: where the kernel cannot be asked/],
  ['a socket that others may write', 0o700, 0o602, /sock has mode 602/],
  ['a folder that others may search', 0o701, 0o600, /has mode 701: .* it must be closed to other users/],
  ['a folder that a group may search', 0o710, 0o600, /has mode 710/],
])('M206 without the kernel, %s is refused', (_, folder, socket, says) => {
  expect(ownCallers(path, [0], false)).toMatchObject({ named: false });
  chmodSync(dir, folder);
  chmodSync(path, socket);
  expect(() => ownCallers(path, [0], false)).toThrow(refusal('file_mode', says));
  // Where the kernel names the callers, the modes do not matter.
  expect(ownCallers(path, [0], true).named).toBe(true);
});
