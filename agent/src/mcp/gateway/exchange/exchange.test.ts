import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type GateAnswer, type OpenGate, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { Questions } from '../questions.ts';
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
  const session = { open: 0, questions: new Questions(), pending: new Map() } as unknown as Session;
  const peer = { id: parseSpiffeId('spiffe://prod.example/a'), attested: NOT_ATTESTED } as VerifiedSvid;
  const back = new Exchange(gate, res, {
    peer,
    era: 'legacy',
    request: undefined,
    session,
    pending: new Map(),
    call: { source: undefined },
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
  const waiting = {
    recordId: 'a',
    requestId: 1,
    method: 'tools/call',
    what: { kind: 'tool', name: 'echo' } as const,
    startedMs: 0,
  };
  const pending = new Map([[1, waiting]]);
  const request = { kind: 'request', id: 1, method: 'tools/call', params: undefined } as const;
  const back = new Exchange(gate, res, {
    peer: { id: parseSpiffeId('spiffe://prod.example/a'), attested: NOT_ATTESTED } as VerifiedSvid,
    era: 'legacy',
    request,
    session: undefined,
    pending,
    call: { source: undefined },
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
    const peer = {
      id: parseSpiffeId(`spiffe://prod.example/${name}`),
      attested: NOT_ATTESTED,
    } as VerifiedSvid;
    const [era, call] = ['legacy', { source: undefined }] as const;
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

describe('what comes of a request', () => {
  let open: OpenGate;
  let failed: unknown;
  beforeEach(async () => {
    open = await openGate();
    failed = undefined;
  });
  afterEach(() => open.close());

  /** What the client gets where its server does this. */
  async function answered(serve: OpenGate['serve'], body: object = PING): Promise<GateAnswer> {
    open.serve = (passed) => {
      try {
        serve(passed);
      } catch (error) {
        failed = error;
      }
    };
    const answer = await open.ask({ body });
    expect(failed).toBeUndefined();
    return answer;
  }
  const PING = { id: 1, method: 'ping' };
  const INITIALIZE = { id: 1, method: 'initialize', params: {} };
  const NOWHERE = { id: undefined, retry: undefined };
  const result = { kind: 'response', id: 1, result: {}, error: undefined } as const;
  const refused = { ...result, result: undefined, error: { code: -32603, message: 'no' } } as const;
  const note = { kind: 'notification', method: 'notifications/progress', params: undefined } as const;
  const stages = () => open.events().map(({ stage }) => stage);

  test('is one answer, and no second one', async () => {
    const { status, text } = await answered(({ back }) => {
      back.answer(200, result);
      back.answer(500, refused);
      back.fail(new IdentityError('mcp_upstream', 'late'));
    });
    expect([status, JSON.parse(text)]).toEqual([200, { jsonrpc: '2.0', id: 1, result: {} }]);
    expect(stages()).toEqual(['decided', 'answered']);
  });

  test('of a notification is one answer, and no failure after it', async () => {
    const { status } = await answered(
      ({ back }) => {
        back.answer(202, undefined);
        back.fail(new IdentityError('mcp_upstream', 'late'));
      },
      { method: 'notifications/initialized' },
    );
    expect([status, stages()]).toEqual([202, ['decided']]);
  });

  test('is an error where a call comes in the place of the answer', async () => {
    const { status, text } = await answered(({ back }) => back.answer(200, note));
    const message = 'the MCP server answered with a call instead of a response';
    expect([status, JSON.parse(text)]).toMatchObject([200, { id: 1, error: { code: -31502, message } }]);
  });

  test('is an error where the server fails, as an answer or in the stream', async () => {
    const gone = new IdentityError('mcp_upstream', 'gone');
    const whole = await answered(({ back }) => back.fail(gone));
    expect(JSON.parse(whole.text)).toMatchObject({ id: 1, error: { code: -31502, message: 'gone' } });
    const streamed = await answered(({ back }) => {
      back.open();
      back.keepAlive();
      back.fail(gone);
    });
    expect(streamed.text).toMatch(/^:\n\nevent: message\ndata: .*"id":1,"error".*gone/);
  });

  test('may be a stream, which is opened once and ends with the answer', async () => {
    const { text } = await answered(({ back }) => {
      back.open();
      back.keepAlive();
      back.open();
      expect(back.event(NOWHERE, result)).toBe(true);
      expect(back.event(NOWHERE, note)).toBe(true);
    });
    expect(text).toMatch(/^:\n\nevent: message\ndata: \{"jsonrpc":"2.0","id":1,"result":\{\}\}\n\n$/);
    expect(stages()).toEqual(['decided', 'answered']);
  });

  test('in a stream has no event for a message that is dropped', async () => {
    const { text } = await answered(({ back }) => {
      back.open();
      back.event({ id: 'e1', retry: undefined }, { ...note, method: 'notifications/other' });
      back.event(NOWHERE, result);
    });
    expect(text).not.toContain('e1');
    expect(stages()).toContain('dropped');
  });

  test.each<[string, typeof result | typeof refused, boolean]>([
    ['that begins a session names it', result, true],
    ['that refuses to begin one names none', refused, false],
  ])('%s, though the server keeps its stream alive first', async (_name, message, begins) => {
    const { headers } = await answered(({ back }) => {
      back.session('of the server');
      back.open();
      back.keepAlive();
      back.event(NOWHERE, message);
    }, INITIALIZE);
    expect('mcp-session-id' in headers).toBe(begins);
    await expect.poll(() => open.ended.length).toBe(begins ? 0 : 1);
  });
});
