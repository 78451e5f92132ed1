import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { expect, test } from 'vitest';
import type { Session } from '../sessions.ts';
import { Exchange } from './exchange.ts';
import type { Gate } from './gate.ts';
import { Unread } from './unread.ts';

test('a request whose client has left already leaves no request of its session open', async () => {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  res.destroy();
  await setImmediate();
  expect(res.closed).toBe(true);
  const gate = { unread: new Unread() } as unknown as Gate;
  const session = { open: 0 } as unknown as Session;
  const peer = { id: parseSpiffeId('spiffe://prod.example/a') } as VerifiedSvid;
  const back = new Exchange(gate, res, {
    peer,
    era: 'legacy',
    request: undefined,
    session,
    pending: new Map(),
    call: {},
  });
  let closed = 0;
  back.onClose(() => {
    closed += 1;
  });
  await setImmediate();
  expect([session.open, closed]).toEqual([0, 1]);
});
