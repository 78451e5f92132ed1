import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type AnswerServer,
  breakingOff,
  saying,
  startAnswers,
} from '../../../../../test/kit/http/answered.ts';
import { type RecordedBack, recordedBack } from '../../../../../test/kit/mcp/servers/recorded-back.ts';
import { type Asking, receiveStream } from './stream.ts';

let answers: AnswerServer;
let back: RecordedBack;
let skipped: string[];
beforeAll(async () => {
  answers = await startAnswers();
});
afterAll(() => answers.close());
beforeEach(() => {
  back = recordedBack();
  skipped = [];
});

const STREAM = 'text/event-stream';
const data = (message: object, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`;
const ANSWER = data({ id: 7, result: { n: 1 } });
const BOOM = { code: -32603, message: 'boom' };
const nameless = (id?: string, error: object = BOOM): string => data({ id: null, error }, id);
const MARK = 'id: e1\ndata:\n\n';

async function receive(say: RequestListener | string, changes: Partial<Asking> = {}): Promise<void> {
  const response = await answers.answer(typeof say === 'string' ? saying(STREAM, say) : say);
  response.on('error', () => {});
  const skip = (what: string): void => void skipped.push(what);
  const asked = {
    method: 'POST',
    era: 'legacy',
    session: 's',
    asks: 'tools/call',
    id: 7,
    resumes: false,
  } as const;
  receiveStream(response, { ...asked, back, skip, onRedirect: () => {}, ...changes }, (error) =>
    back.fail(error as Parameters<RecordedBack['fail']>[0]),
  );
}
const received = async (...args: Parameters<typeof receive>): Promise<readonly unknown[]> => {
  await receive(...args);
  return back.over;
};
/** For a GET that asks nothing. */
const LISTENING = { method: 'GET', asks: undefined, id: undefined } as const;

test('events are passed on with their places, and the end after the answer', async () => {
  const retry = 'retry: 5\n\n';
  back.answered = true;
  expect(await received(`${MARK}${retry}:\n\n${ANSWER}`)).toEqual([
    ['open'],
    ['event', 'e1', undefined],
    ['event', undefined, 5],
    ['keepAlive'],
    ['event', undefined, undefined],
    ['end'],
  ]);
  expect(back.messages.at(-1)).toMatchObject({ id: 7, result: { n: 1 } });
});

test('an event of another type keeps its client waiting, and is none to it', async () => {
  await received(`event: endpoint\n${ANSWER}`, LISTENING);
  expect(back.said).toEqual([['open'], ['keepAlive'], ['end']]);
});

describe('a stream without the answer', () => {
  test.each<[string, RequestListener, string]>([
    ['ends', saying(STREAM, data({ method: 'x' })), 'ended its stream'],
    ['breaks off', breakingOff(STREAM, data({ method: 'x' })), 'closed the connection'],
  ])('that %s fails the request', async (_name, say, how) => {
    const says = `the MCP server ${how} before the answer; it may have done what was asked`;
    expect((await received(say)).at(-1)).toEqual(['fail', says]);
  });

  test.each<[string, string, Partial<Asking>, 'end' | 'fail']>([
    ['after an event with an id ends, to be resumed', MARK, {}, 'end'],
    ['after an empty id fails', 'id:\ndata:\n\n', {}, 'fail'],
    ['without a session fails', MARK, { session: undefined }, 'fail'],
    ['in the modern era fails', MARK, { era: 'modern' }, 'fail'],
    ['that asks nothing ends', data({ method: 'x' }), LISTENING, 'end'],
  ])('%s', async (_name, text, changes, how) => {
    expect((await received(text, changes)).at(-1)).toContain(how);
  });
});

describe('an error without an id', () => {
  test('is the answer of the request where no other comes', async () => {
    expect((await received(nameless())).at(-1)).toEqual(['end']);
    expect(back.messages).toMatchObject([{ id: 7, error: BOOM }]);
  });

  test('is on record, and not the answer, where another message answers', async () => {
    await received(nameless() + ANSWER);
    expect(back.messages).toMatchObject([
      { id: undefined, error: BOOM },
      { id: 7, result: {} },
    ]);
  });

  test('gives way to the next one', async () => {
    await received(nameless() + nameless(undefined, { ...BOOM, message: 'two' }));
    expect(back.messages).toMatchObject([
      { id: undefined, error: BOOM },
      { id: 7, error: { message: 'two' } },
    ]);
  });

  test('makes its event no place to resume from', async () => {
    expect(await received(`${MARK}${nameless('e2')}`)).toEqual([
      ['open'],
      ['event', 'e1', undefined],
      ['keepAlive'],
      ['event', undefined, undefined],
      ['end'],
    ]);
    expect(back.messages.at(-1)).toMatchObject({ id: 7, error: BOOM });
  });

  test.each([
    ['has been answered', 'answered'],
    ['was cancelled', 'isCancelled'],
  ] as const)('answers no request that %s', async (_name, state) => {
    back[state] = true;
    await received(nameless());
    expect(back.messages).toMatchObject([{ id: undefined, error: BOOM }]);
  });

  test('is passed on at once where nothing was asked: such a stream may be open for hours', async () => {
    await receive(
      (_req, res) => void res.writeHead(200, { 'content-type': STREAM }).write(nameless('e1')),
      LISTENING,
    );
    await expect.poll(() => back.messages).toMatchObject([{ id: undefined, error: BOOM }]);
    expect(back.said).toEqual([['open'], ['event', 'e1', undefined]]);
  });

  test('keeps a code and 1,024 characters while the stream is open', async () => {
    await received(nameless(undefined, { code: -1, message: 'x'.repeat(2_000), data: {} }));
    const kept = { code: -1, message: `${'x'.repeat(1_024)}...` };
    expect(back.messages).toEqual([expect.objectContaining({ id: 7, error: kept })]);
  });
});

describe('an event that cannot be read', () => {
  test('fails the request that it answers', async () => {
    await received(data({ id: 7, result: 'text' }) + data({ id: '7', result: 'text' }), LISTENING);
    const message = expect.stringMatching(/could not be read: the result is not an object/);
    expect(back.messages.slice(0, 1)).toMatchObject([{ id: 7, error: { code: -31502, message } }]);
    expect(skipped).toEqual([]);
  });

  test('fails the request of its stream where it answers none by name', async () => {
    await received(data({ id: null, error: 'text' }));
    const message = expect.stringMatching(/could not be read/);
    expect(back.messages).toMatchObject([{ id: 7, error: { message } }]);
  });

  test('is skipped where it answers nothing', async () => {
    await received('data: log line\n\n', LISTENING);
    expect([back.messages, skipped]).toEqual([[], [expect.stringMatching(/could not be read/)]]);
    expect(back.said).toEqual([['open'], ['keepAlive'], ['end']]);
  });

  test('for its size leaves it unknown what the request that it answers did', async () => {
    const text = 'x'.repeat(16 * 1024 * 1024);
    const said = await received(data({ id: 7, error: { code: -1, message: text } }));
    expect(said).toContainEqual(['fail', expect.stringMatching(/was larger than 16 MiB; it may have done/)]);
    expect(back.messages.find((each) => each !== undefined)).toBeUndefined();
  });

  test('for its size fails the request of its stream, where it names none', async () => {
    const text = 'x'.repeat(16 * 1024 * 1024);
    await received(data({ error: { code: -1, message: text } }));
    const message = expect.stringMatching(/was larger than 16 MiB/);
    expect(back.messages.find((each) => each !== undefined)).toMatchObject({ id: 7, error: { message } });
  });
});

test('the number of the request that comes back as text is its id', async () => {
  await received(data({ id: '7', result: {} }), { resumes: true });
  expect(back.messages).toMatchObject([{ id: 7 }]);
});

test('what is held of half an event is counted, and freed once it is whole', async () => {
  const go = Promise.withResolvers<void>();
  await receive((_req, res) => {
    res.writeHead(200, { 'content-type': STREAM }).write(ANSWER.slice(0, 20));
    go.promise.then(() => res.end(ANSWER.slice(20)));
  });
  await expect.poll(() => back.held.now).toBeGreaterThanOrEqual(20);
  go.resolve();
  await expect.poll(() => back.messages.length).toBe(1);
  expect(back.held.now).toBe(0);
});

test('after a pause an event may come in many pieces', async () => {
  back.takes = false;
  const [go, rest] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await receive((_req, res) => {
    res.writeHead(200, { 'content-type': STREAM }).write(data({ method: 'one' }));
    const more = data({ method: 'two' });
    go.promise.then(() => res.write(more.slice(0, 8)));
    rest.promise.then(() => res.end(more.slice(8)));
  }, LISTENING);
  await expect.poll(() => back.resume !== undefined).toBe(true);
  back.takes = true;
  back.resume?.();
  go.resolve();
  await expect.poll(() => back.held.now).toBeGreaterThanOrEqual(8);
  rest.resolve();
  await back.over;
  expect(back.messages).toMatchObject([{ method: 'one' }, { method: 'two' }]);
});

test('a slow client slows its server down', async () => {
  back.takes = false;
  const go = Promise.withResolvers<void>();
  await receive((_req, res) => {
    res.writeHead(200, { 'content-type': STREAM }).write(data({ method: 'one' }));
    go.promise.then(() => res.end(data({ method: 'two' })));
  }, LISTENING);
  await expect.poll(() => back.resume !== undefined).toBe(true);
  go.resolve();
  // The answer of another request is read meanwhile.
  const other = await answers.answer(saying('text/plain', 'x'));
  for await (const _ of other);
  expect(back.messages).toHaveLength(1);
  back.takes = true;
  back.resume?.();
  await back.over;
  expect(back.messages).toMatchObject([{ method: 'one' }, { method: 'two' }]);
});
