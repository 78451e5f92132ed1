import type { OutgoingHttpHeaders, RequestListener } from 'node:http';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type AnswerServer, breakingOff, startAnswers } from '../../../../../test/kit/http/answered.ts';
import { type RecordedBack, recordedBack } from '../../../../../test/kit/mcp/servers/recorded-back.ts';
import type { Outbound } from '../upstream.ts';
import { askingOf, receive } from './answer.ts';
import type { Asking } from './stream.ts';

let answers: AnswerServer;
let back: RecordedBack;
let redirects: (string | undefined)[];
beforeAll(async () => {
  answers = await startAnswers();
});
afterAll(() => answers.close());
beforeEach(() => {
  back = recordedBack();
  redirects = [];
});

const JSON_TYPE = { 'content-type': 'application/json' };
const STREAM_TYPE = { 'content-type': 'text/event-stream' };
const REFUSED = { code: -32602, message: 'no' };
const result = (id: number | string | null = 7) => JSON.stringify({ jsonrpc: '2.0', id, result: { n: 1 } });
const error = (id: number | string | null = 7) => JSON.stringify({ jsonrpc: '2.0', id, error: REFUSED });
const LOST = JSON.stringify({
  jsonrpc: '2.0',
  id: null,
  error: { code: -32001, message: 'session not found' },
});

type Changes = Partial<Asking>;
const CALL = {
  method: 'POST',
  era: 'legacy',
  session: 's',
  asks: 'tools/call',
  id: 7,
  resumes: false,
} as const;
const MODERN: Changes = { era: 'modern', session: undefined };
const INITIALIZE: Changes = { asks: 'initialize', session: undefined };
const NOTIFICATION: Changes = { asks: undefined, id: undefined };
const GET: Changes = { ...NOTIFICATION, method: 'GET' };
const DELETE: Changes = { ...NOTIFICATION, method: 'DELETE' };

async function received(say: RequestListener, changes: Changes = {}): Promise<readonly unknown[]> {
  const onRedirect = (location: string | undefined): void => void redirects.push(location);
  const asking = { ...CALL, back, skip: () => {}, onRedirect, ...changes };
  receive(await answers.answer(say), asking);
  return back.over;
}
const answering =
  (status: number, headers: OutgoingHttpHeaders, body = ''): RequestListener =>
  (_req, res) =>
    void res.writeHead(status, headers).end(body);
const failed = (says: string | RegExp) => [
  'fail',
  typeof says === 'string' ? says : expect.stringMatching(says),
];

describe('the answer of a request', () => {
  test.each([200, 201, 202, 404, 500])('is HTTP 200 where it is a result in HTTP %i', async (status) => {
    expect(await received(answering(status, JSON_TYPE, result()), { session: undefined })).toEqual([
      ['answer', 200],
    ]);
    expect(back.messages).toMatchObject([{ id: 7, result: { n: 1 } }]);
  });

  test.each<[number, Changes, number]>([
    [200, {}, 200],
    [400, {}, 200],
    [500, {}, 200],
    [400, MODERN, 400],
    [404, MODERN, 404],
    [500, MODERN, 200],
  ])('is an error in HTTP %i', async (status, changes, shown) => {
    expect(await received(answering(status, JSON_TYPE, error()), changes)).toEqual([['answer', shown]]);
    expect(back.messages).toMatchObject([{ id: 7, error: REFUSED }]);
  });

  test('may begin with a byte order mark, and have its number as text', async () => {
    await received(answering(200, JSON_TYPE, `\ufeff${result('7')}`));
    expect(back.messages).toMatchObject([{ id: 7 }]);
  });

  test.each<[string, RequestListener, RegExp]>([
    ['an empty body', answering(200, JSON_TYPE), /^no answer in HTTP 200: its body is empty$/],
    ['no type', answering(200, {}, result()), /: it has no Content-Type; application\/json is expected$/],
    [
      'a page',
      answering(200, { 'content-type': `text/html; x=${'x'.repeat(200)}` }, '<p>'),
      /: its Content-Type is text\/html; x=x{87}\.\.\.; application\/json in UTF-8 is expected$/,
    ],
    [
      'a message that cannot be read',
      answering(200, JSON_TYPE, '{}'),
      /could not be read: the message is not/,
    ],
    [
      'a coding',
      answering(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }, 'x'),
      /Content-Encoding gzip, and/,
    ],
    [
      'a coding of a stream',
      answering(200, { ...STREAM_TYPE, 'content-encoding': 'gzip' }, 'x'),
      /Content-Encoding gzip, and none was asked for$/,
    ],
    ['half a body', breakingOff('application/json', '{'), /the body ended early|did not answer/],
    [
      'too large a body',
      answering(200, { ...JSON_TYPE, 'content-length': 16 * 1024 * 1024 + 1 }),
      /was larger than 16 MiB; it may have done what was asked$/,
    ],
  ])('fails the request where it is %s', async (_name, say, says) => {
    expect(await received(say)).toEqual([failed(says)]);
    expect(back.held.now).toBe(0);
  });

  test('may name the coding that is none', async () => {
    const say = answering(200, { ...JSON_TYPE, 'content-encoding': 'Identity' }, result());
    expect(await received(say)).toEqual([['answer', 200]]);
  });

  test.each<[number, string, Changes, number]>([
    [503, '<p>', {}, 200],
    [503, '{"error":"busy"}', {}, 200],
    [404, '<p>', MODERN, 404],
    [503, '<p>', MODERN, 200],
  ])('that is HTTP %i without a message is an error of ours: %s', async (status, body, changes, shown) => {
    const type = body.startsWith('{') ? JSON_TYPE : { 'content-type': 'text/html' };
    expect(await received(answering(status, type, body), { session: undefined, ...changes })).toEqual([
      ['answer', shown],
    ]);
    const says = { code: -31502, message: `the MCP server answered HTTP ${status}` };
    expect(back.messages).toEqual([expect.objectContaining({ id: undefined, error: says })]);
  });

  test('that cannot be read for its size is a failure in any status', async () => {
    const deep = `{"jsonrpc":"2.0","id":7,"result":${'['.repeat(80)}${']'.repeat(80)}}`;
    expect(await received(answering(200, JSON_TYPE, deep))).toEqual([failed(/could not be read/)]);
  });

  test('is counted while it is not whole', async () => {
    const go = Promise.withResolvers<void>();
    const over = received((_req, res) => {
      res.writeHead(200, JSON_TYPE).write(result().slice(0, 9));
      go.promise.then(() => res.end(result().slice(9)));
    });
    await expect.poll(() => back.held.now).toBeGreaterThanOrEqual(9);
    go.resolve();
    expect(await over).toEqual([['answer', 200]]);
    expect(back.held.now).toBe(0);
  });

  test('may be a stream', async () => {
    back.answered = true;
    const say = answering(201, STREAM_TYPE, `data: ${result()}\n\n`);
    expect(await received(say)).toEqual([['open'], ['event', undefined, undefined], ['end']]);
  });

  test('that is a stream in an HTTP error is none', async () => {
    const say = answering(500, STREAM_TYPE, `data: ${result()}\n\n`);
    expect(await received(say)).toEqual([['answer', 200]]);
    expect(back.messages).toMatchObject([{ error: { message: 'the MCP server answered HTTP 500' } }]);
  });
});

describe('a redirect, or what is not for clients', () => {
  test.each([301, 302, 303, 307, 308])(
    'HTTP %i is logged for the operator and not followed',
    async (status) => {
      const headers = { ...JSON_TYPE, location: 'http://10.0.0.1/' };
      expect(await received(answering(status, headers, result()))).toEqual([['answer', 200]]);
      expect(redirects).toEqual(['http://10.0.0.1/']);
      const message = expect.stringMatching(
        /^the MCP server answered HTTP 30., a redirect, which is not followed/,
      );
      expect(back.messages).toMatchObject([{ error: { code: -31502, message } }]);
    },
  );

  test.each([300, 304, 305, 401, 403, 407])('HTTP %i is a failure of the server', async (status) => {
    expect(await received(answering(status, { location: 'x' }), MODERN)).toEqual([['answer', 200]]);
    expect(redirects).toEqual([]);
  });

  test('has its status as a bad gateway where nothing was asked', async () => {
    expect(await received(answering(401, {}), NOTIFICATION)).toEqual([['answer', 502]]);
  });
});

describe('a session', () => {
  test('is named before the answer that begins it, whatever that is', async () => {
    const say = answering(500, { ...JSON_TYPE, 'mcp-session-id': 'up' }, error());
    expect(await received(say, INITIALIZE)).toEqual([
      ['session', 'up'],
      ['answer', 200],
    ]);
  });

  test('is named by no other answer', async () => {
    expect(await received(answering(200, { ...JSON_TYPE, 'mcp-session-id': 'up' }, result()))).toEqual([
      ['answer', 200],
    ]);
  });

  test('that a stream begins makes it one that can be resumed', async () => {
    const say = answering(200, { ...STREAM_TYPE, 'mcp-session-id': 'up' }, 'id: e1\ndata:\n\n');
    expect((await received(say, INITIALIZE)).at(-1)).toEqual(['end']);
  });

  test.each<[string, number, string, Changes]>([
    ['a request', 404, '', {}],
    ['a request, with HTTP 400', 400, LOST, {}],
    ['a notification', 404, '', NOTIFICATION],
    ['a stream that is resumed', 404, '', { ...GET, resumes: true }],
  ])('is lost where the server says so to %s', async (_name, status, body, changes) => {
    expect(await received(answering(status, JSON_TYPE, body), changes)).toEqual([['answer', 404]]);
    expect(back.messages).toMatchObject([{ id: undefined, error: { code: -32001 } }]);
  });

  test.each<[string, string, Changes]>([
    ['an error of the request itself', error(), {}],
    ['no session', '', { session: undefined }],
  ])('is not lost by HTTP 404 with %s', async (_name, body, changes) => {
    expect(await received(answering(404, JSON_TYPE, body), changes)).toEqual([['answer', 200]]);
  });
});

describe('what asks nothing', () => {
  test.each([200, 202, 204])('is taken by HTTP %i, whatever is in it', async (status) => {
    const body = status === 204 ? '' : 'no JSON';
    expect(await received(answering(status, JSON_TYPE, body), NOTIFICATION)).toEqual([['answer', 202]]);
    expect(back.messages).toEqual([]);
  });

  test('is refused as its server refuses it', async () => {
    expect(await received(answering(400, JSON_TYPE, error(null)), NOTIFICATION)).toEqual([['answer', 400]]);
    expect(back.messages).toMatchObject([{ error: REFUSED }]);
  });

  test('gets no result, which would be that of an open call', async () => {
    expect(await received(answering(500, JSON_TYPE, result()), NOTIFICATION)).toEqual([['answer', 500]]);
    expect(back.messages).toMatchObject([{ error: { message: 'the MCP server answered HTTP 500' } }]);
  });
});

describe('a stream on which the server speaks unasked', () => {
  test.each([400, 404, 405, 406, 501])(
    'is kept open where HTTP %i says that there is none',
    async (status) => {
      void received(answering(status, {}), GET);
      await expect.poll(() => back.said).toEqual([['open']]);
    },
  );

  test.each([502, 503, 504])('fails where HTTP %i says that the server is away', async (status) => {
    expect(await received(answering(status, {}), GET)).toEqual([
      failed(`the MCP server answered HTTP ${status}`),
    ]);
  });

  test('is refused with any other status', async () => {
    expect(await received(answering(500, {}), GET)).toEqual([['answer', 500]]);
  });

  test.each([405, 406])('is refused with HTTP %i where its client waits for the rest', async (status) => {
    expect(await received(answering(status, {}), { ...GET, resumes: true })).toEqual([['answer', status]]);
  });

  test('may be one answer that is not a stream', async () => {
    expect(await received(answering(200, {}), GET)).toEqual([['answer', 200]]);
  });
});

describe('the end of a session', () => {
  test.each([400, 404, 405, 406, 501])(
    'is taken where HTTP %i says that there is no DELETE',
    async (status) => {
      expect(await received(answering(status, {}), DELETE)).toEqual([['answer', 204]]);
    },
  );

  test.each([200, 204, 500])('is answered with HTTP %i', async (status) => {
    expect(await received(answering(status, {}), DELETE)).toEqual([['answer', status]]);
  });
});

test('what is read of an answer depends on its request', () => {
  const caller = parseSpiffeId('spiffe://prod.example/a');
  const rest = { caller, era: 'legacy', session: 's', headers: {} } as const;
  const request = { kind: 'request', id: 7, method: 'ping', params: undefined } as const;
  const outbound = (changes: Partial<Outbound>): Outbound => ({ ...rest, message: undefined, ...changes });
  const common = { era: 'legacy', session: 's', resumes: false };
  expect(askingOf(outbound({ message: request }))).toEqual({ ...common, asks: 'ping', id: 7 });
  const nothing = { ...common, asks: undefined, id: undefined };
  const notification = { kind: 'notification', method: 'x', params: undefined } as const;
  expect(askingOf(outbound({ message: notification }))).toEqual(nothing);
  expect(askingOf(outbound({ headers: { 'last-event-id': 'e1' } }))).toEqual({ ...nothing, resumes: true });
});
