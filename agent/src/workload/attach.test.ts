import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { attach } from './attach.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('an agent of another release ends the attempt, with what to do', async () => {
  const socket = join(dir, 'agent.sock');
  const server = http.createServer((_, response) => response.end('{"svid":"2026"}\n')).listen(socket);
  await once(server, 'listening');
  const attempt = attach({ socket, clock: systemClock, log: silentLog }, AbortSignal.timeout(60_000));
  await expect(attempt).rejects.toEqual(
    refusal(
      'message_parse',
      /^the agent at .*agent\.sock is of another release than this program: restart the agent$/,
    ),
  );
  server.close();
});
