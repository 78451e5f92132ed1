import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { expect, test } from 'vitest';
import { gatePeer, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { ALLOWED, writeAsked } from '../../wire/allowed.ts';
import { asksAllowed, sayAllowed } from './allowed.ts';
import { nothingSeen } from './inbound.ts';
import { Served } from './served.ts';

test.each([
  ['/chancery/allowed/everything', true],
  ['/chancery/allowed', false],
  ['/mcp/everything', false],
  [undefined, false],
])('the path %s', (path, asks) => {
  expect(asksAllowed(path)).toBe(asks);
});

test('a caller whose certificate has ended by then gets no answer', async () => {
  const open = await openGate();
  const code = Promise.withResolvers<string>();
  const ensureStands = (): void => {
    throw new IdentityError('expired_peer', 'the certificate has expired');
  };
  const server = createServer((req, res) => {
    const begun = { req, res, peer: gatePeer, begin() {}, ensureStands };
    sayAllowed(new Served(open.gate), begun, nothingSeen(req.socket)).catch((error: unknown) => {
      code.resolve(isRefusal(error) ? error.code : String(error));
      res.writeHead(500).end();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const headers = { 'content-type': 'application/json', connection: 'close' };
  const body = writeAsked(['echo']);
  const answer = await fetch(`http://127.0.0.1:${port}${ALLOWED}everything`, {
    method: 'POST',
    headers,
    body,
  });
  expect([answer.status, await code.promise]).toEqual([500, 'expired_peer']);
  server.close();
  await open.close();
});
