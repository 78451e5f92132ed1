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
  const gate = { unread: new Unread(), arriving: new Unread() } as unknown as Gate;
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

/** An exchange of the request 1, of a session where a request 1 waits for its answer, and its end. */
function exchangeOfRequest() {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  const ends: unknown[] = [];
  const recorder = { unanswered: (...[, asked, outcome]: unknown[]) => void ends.push([asked, outcome]) };
  const gate = { unread: new Unread(), arriving: new Unread(), recorder } as unknown as Gate;
  const waiting = { recordId: 'a', requestId: 1, method: 'tools/call', tool: 'echo', startedMs: 0 };
  const pending = new Map([[1, waiting]]);
  const request = { kind: 'request', id: 1, method: 'tools/call', params: undefined } as const;
  const back = new Exchange(gate, res, {
    peer: { id: parseSpiffeId('spiffe://prod.example/a') } as VerifiedSvid,
    era: 'legacy',
    request,
    session: undefined,
    pending,
    call: {},
  });
  const hold = { free: () => {}, onLost: () => {} };
  return { res, back, hold, pending, waiting, ends };
}

test('a request that has not passed leaves another with its id alone', async () => {
  const { res, pending, waiting, ends } = exchangeOfRequest();
  res.destroy();
  await setImmediate();
  expect([pending.get(1), ends]).toEqual([waiting, []]);
});

test.each(['before', 'after'])(
  'a request whose client leaves %s it passes is abandoned once',
  async (when) => {
    const { res, back, hold, pending, waiting, ends } = exchangeOfRequest();
    if (when === 'after') back.enter(hold);
    res.destroy();
    await setImmediate();
    if (when === 'before') back.enter(hold);
    expect([pending.size, ends]).toEqual([0, [[waiting, 'abandoned']]]);
  },
);
