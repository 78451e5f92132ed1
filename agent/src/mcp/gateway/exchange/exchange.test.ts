import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test } from 'vitest';
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

describe('what a server sends that is not whole', () => {
  const limits = { perStream: 1_000, perCaller: 100, total: 1_000 };
  let arriving: Unread;
  let dropped: unknown[];
  beforeEach(() => {
    arriving = new Unread(limits, 'in answers that are not whole');
    dropped = [];
  });
  function exchangeOf(name: string) {
    const res = new ServerResponse(new IncomingMessage(new Socket()));
    const recorder = {
      dropped: ({ id }: VerifiedSvid, _message: unknown, detail: string) => void dropped.push([id, detail]),
    };
    const gate = { unread: new Unread(), arriving, recorder } as unknown as Gate;
    const peer = { id: parseSpiffeId(`spiffe://prod.example/${name}`) } as VerifiedSvid;
    const [era, call] = ['legacy', {}] as const;
    const facts = { peer, era, request: undefined, session: undefined, pending: new Map(), call };
    return { res, back: new Exchange(gate, res, facts) };
  }

  test('counts for its caller, whose largest answer is lost', () => {
    const [one, two, other] = [exchangeOf('a'), exchangeOf('a'), exchangeOf('b')];
    other.back.holding(90);
    one.back.holding(40);
    two.back.holding(60);
    expect([dropped, arriving.total]).toEqual([[], 190]);
    one.back.holding(41);
    const detail = expect.stringMatching(
      /prod.example\/a have 101 bytes in answers that are not whole, this one 60$/,
    );
    expect(dropped).toEqual([['spiffe://prod.example/a', detail]]);
    expect([one, two, other].map(({ res }) => res.destroyed)).toEqual([false, true, false]);
    expect(arriving.total).toBe(131);
  });

  test('counts no more once its client has left', async () => {
    const { res, back } = exchangeOf('a');
    back.holding(90);
    res.destroy();
    await setImmediate();
    expect(arriving.total).toBe(0);
    back.holding(90);
    expect(arriving.total).toBe(0);
  });
});
