import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  afterBody,
  type PlayedGateway,
  playGateway,
  portOf,
} from '../../../../test/kit/mcp/world/played-gateway.ts';
import type { Dialler, Posted } from './dial.ts';
import { Relay } from './relay.ts';

let gateway: PlayedGateway;
let local: Server;
let dialler: Dialler;
/** What the local client asks next, and the gateway's answers as they reach the relay. */
let posted: Posted;
let answers: IncomingMessage[];
let onRelayed: (res: ServerResponse) => void;
beforeEach(async () => {
  gateway = await playGateway();
  const real = gateway.dial();
  answers = [];
  dialler = {
    send: (asked, reached) =>
      real.send(asked, {
        ...reached,
        onResponse(response) {
          answers.push(response);
          reached.onResponse(response);
        },
      }),
    explain: (error) => real.explain(error),
  } as Partial<Dialler> as Dialler;
  onRelayed = () => {};
  local = createServer((_req, res) => {
    res.on('error', () => {});
    new Relay(dialler, posted, res);
    onRelayed(res);
  });
  await once(local.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  local.closeAllConnections();
  local.close();
  await gateway.close();
});

const call = (id: number | string = 7): Posted => ({
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    'mcp-session-id': 's',
    'mcp-protocol-version': '2025-11-25',
  },
  body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo' } }),
});
const without = ({ headers, ...rest }: Posted, name: string): Posted => ({
  ...rest,
  headers: Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name)),
});

/** The head of what the client gets. */
async function ask(asked: Posted): Promise<IncomingMessage> {
  posted = asked;
  const outgoing = request({ host: '127.0.0.1', port: portOf(local), method: asked.method }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}
/** All of it. */
async function whole(asked: Posted): Promise<string> {
  return text(await ask(asked));
}

const STREAM = { 'content-type': 'text/event-stream' };
const event = (message: object, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`;
const progress = event({ method: 'notifications/progress', params: {} }, 'e1');
const ANSWER = { id: 7, result: { content: [] } };

describe('an answer', () => {
  test('passes with its status and the headers that are for a client', async () => {
    gateway.play = afterBody((_body, _req, res) => {
      res.setHeader('content-type', 'application/json').setHeader('mcp-session-id', 'new');
      res.setHeader('allow', 'POST').setHeader('set-cookie', 'secret=1').setHeader('x-upstream', 'host');
      res.writeHead(404).end('{"a":1}');
    });
    const response = await ask(call());
    expect([response.statusCode, await text(response)]).toEqual([404, '{"a":1}']);
    const { 'content-type': type, 'mcp-session-id': session, allow, ...rest } = response.headers;
    expect([type, session, allow]).toEqual(['application/json', 'new', 'POST']);
    expect(Object.keys(rest)).not.toEqual(expect.arrayContaining(['set-cookie', 'x-upstream']));
  });

  test('of no bytes passes', async () => {
    gateway.play = (req, res) => void req.resume().once('end', () => res.writeHead(202).end());
    const response = await ask(call());
    expect([response.statusCode, await text(response)]).toEqual([202, '']);
  });

  test('that is a stream has its head before its first event', async () => {
    const go = Promise.withResolvers<void>();
    gateway.play = afterBody((_body, _req, res) => {
      res.writeHead(200, STREAM).flushHeaders();
      go.promise.then(() => res.end(event(ANSWER)));
    });
    const response = await ask(call());
    expect(response.headers['content-type']).toBe('text/event-stream');
    go.resolve();
    expect(await text(response)).toBe(event(ANSWER));
  });

  test('waits for a client that does not read', async () => {
    const first = Promise.withResolvers<void>();
    gateway.play = afterBody((_body, _req, res) => {
      res.writeHead(200, STREAM).write('a');
      first.promise.then(() => res.end('b'));
    });
    let relayed: ServerResponse | undefined;
    onRelayed = (res) => {
      relayed = res;
      const write = res.write.bind(res);
      // The client's buffers are full with the first piece.
      res.write = (chunk: Buffer) => {
        write(chunk);
        return String(chunk) !== 'a';
      };
    };
    const response = await ask(call());
    await expect.poll(() => answers[0]?.isPaused()).toBe(true);
    first.resolve();
    await expect.poll(() => answers[0]?.readableLength).toBe(1);
    relayed?.emit('drain');
    expect(await text(response)).toBe('ab');
  });
});

test('a client that leaves gives the request up at the gateway', async () => {
  const closed = Promise.withResolvers<void>();
  gateway.play = (_req, res) => void res.once('close', () => closed.resolve());
  posted = call();
  const outgoing = request({ host: '127.0.0.1', port: portOf(local), method: 'POST' }).end();
  outgoing.on('error', () => {});
  await expect.poll(() => gateway.arrived.length).toBe(1);
  outgoing.destroy();
  await closed.promise;
});

test('a client that has left already sends nothing', async () => {
  let given = 0;
  const res = { closed: true, once: () => {} } as unknown as ServerResponse;
  const giveUp = (): void => {
    given += 1;
  };
  dialler = { send: () => giveUp } as Partial<Dialler> as Dialler;
  new Relay(dialler, call(), res);
  expect(given).toBe(1);
});

describe('where the connection to the gateway ends', () => {
  const MAY_HAVE = /the MCP server may have done what was asked$/;

  test.each<[string, PlayedGateway['play']]>([
    ['before the head', ({ socket }) => void socket.destroy()],
    [
      'after the head of a body',
      (_req, res) => {
        res.writeHead(200, { 'content-type': 'application/json', 'content-length': 9 }).flushHeaders();
        setImmediate(() => res.destroy());
      },
    ],
  ])('%s, the client gets an error under its id', async (_name, play) => {
    gateway.play = play;
    const response = await ask(call());
    const { id, error } = JSON.parse(await text(response));
    expect([response.statusCode, id, error.code, error.message]).toEqual([
      200,
      7,
      -31502,
      expect.stringMatching(MAY_HAVE),
    ]);
  });

  test('within a body, the connection of the client ends', async () => {
    gateway.play = (_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 9 }).write('{');
      answered.promise.then(() => res.destroy());
    };
    const answered = Promise.withResolvers<void>();
    const response = await ask(call());
    answered.resolve();
    await expect(text(response)).rejects.toThrow();
  });

  /** Writes this and breaks off. */
  const breaks =
    (written: string): PlayedGateway['play'] =>
    (_req, res) => {
      res.writeHead(200, STREAM).write(written, () => setImmediate(() => res.destroy()));
    };

  test('within an event, that is given up, and the error is an event', async () => {
    gateway.play = breaks(`${event({ method: 'x' })}event: message\ndata: {"jsonrpc":`);
    const said = await whole(call());
    const [first, cut, last = ''] = said.split('\n\n');
    expect([`${first}\n\n`, cut]).toEqual([
      event({ method: 'x' }),
      'event: message\ndata: {"jsonrpc":\nevent: cut',
    ]);
    const { id, error } = JSON.parse(last.slice(last.indexOf('data: ') + 'data: '.length));
    expect([id, error.code, error.message]).toEqual([7, -31502, expect.stringMatching(MAY_HAVE)]);
  });

  test('after the answer, the client gets the answer and no error', async () => {
    gateway.play = breaks(event(ANSWER, 'e1'));
    expect(await whole(call())).toBe(event(ANSWER, 'e1'));
    expect(gateway.arrived).toHaveLength(1);
  });

  test.each<[string, string]>([
    ['that asks nothing', JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x' })],
    ['of two requests', '[{"id":1,"method":"a"},{"id":2,"method":"b"}]'],
  ])('in the stream of a body %s, so does that of the client', async (_name, body) => {
    gateway.play = breaks(event({ method: 'x' }));
    const response = await ask({ ...call(), body });
    await expect(text(response)).rejects.toThrow();
  });

  test('the body may have come as bytes', async () => {
    gateway.play = breaks(event({ method: 'x' }));
    const { body } = call('text id');
    expect(await whole({ ...call(), body: Buffer.from(String(body)) })).toContain('"id":"text id","error"');
  });
});

describe('the rest of a stream that breaks off after an event with an id', () => {
  let plays: PlayedGateway['play'][];
  beforeEach(() => {
    gateway.play = (req, res) => (plays.shift() ?? ((_, { destroy }) => destroy()))(req, res);
  });
  const breaks =
    (written: string): PlayedGateway['play'] =>
    (_req, res) =>
      void res.writeHead(200, STREAM).write(written, () => setImmediate(() => res.destroy()));
  const ends =
    (written: string): PlayedGateway['play'] =>
    (_req, res) =>
      void res.writeHead(200, STREAM).end(written);

  test('is asked for in the session and passed on, and half an event is given up', async () => {
    plays = [breaks(`${progress}data: {"half`), ends(event(ANSWER, 'e2'))];
    expect(await whole(call())).toBe(`${progress}data: {"half\nevent: cut\n\n${event(ANSWER, 'e2')}`);
    const [, { method, headers } = { method: '', headers: {} }] = gateway.arrived;
    expect(method).toBe('GET');
    expect(headers).toMatchObject({
      accept: 'text/event-stream',
      'last-event-id': 'e1',
      'mcp-session-id': 's',
      'mcp-protocol-version': '2025-11-25',
    });
    expect(headers).not.toHaveProperty('content-type');
  });

  test('is asked for after the last place, in UTF-8', async () => {
    plays = [breaks(progress), breaks(event({ method: 'x' }, 'é2')), ends(event(ANSWER))];
    expect(await whole(call())).toContain(event(ANSWER));
    const places = gateway.arrived.slice(1).map(({ headers }) => headers['last-event-id']);
    expect(places.map((place) => Buffer.from(String(place), 'latin1').toString())).toEqual(['e1', 'é2']);
  });

  test.each<[string, Posted]>([
    ['a request without a session', without(call(), 'mcp-session-id')],
    ['a body of two requests', { ...call(), body: '[{"id":1,"method":"a"},{"id":2,"method":"b"}]' }],
    ['a GET', { ...call(), method: 'GET', body: undefined }],
  ])('is not asked for %s', async (_name, asked) => {
    plays = [breaks(progress), ends(event(ANSWER))];
    await whole(asked).catch(() => {});
    expect(gateway.arrived).toHaveLength(1);
  });

  test('is asked for five times without a new place on it, and then the call fails', async () => {
    plays = Array.from({ length: 20 }, () => breaks(progress));
    expect(await whole(call())).toContain('"error"');
    expect(gateway.arrived).toHaveLength(1 + 5);
  });

  test('is asked for anew after each new place', async () => {
    plays = Array.from({ length: 12 }, (_, n) => breaks(event({ method: 'x' }, `e${n}`)));
    plays.push(ends(event(ANSWER)));
    expect(await whole(call())).toContain(event(ANSWER));
    expect(gateway.arrived).toHaveLength(13);
  });

  test.each<[string, PlayedGateway['play']]>([
    ['is refused', (_req, res) => void res.writeHead(404).end('no such stream')],
    ['is no stream', (_req, res) => void res.writeHead(200, { 'content-type': 'text/html' }).end('<p>')],
    ['breaks before its head', (_req, res) => void res.destroy()],
  ])('that %s fails the call', async (_name, play) => {
    plays = [breaks(progress), play];
    const said = await whole(call());
    expect(said).toMatch(/"id":7,"error":\{"code":-31502,"message":".*; the MCP server may have done/);
    expect(said).not.toMatch(/no such stream|<p>/);
    expect(gateway.arrived).toHaveLength(2);
  });
});
