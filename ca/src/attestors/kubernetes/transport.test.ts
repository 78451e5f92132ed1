/** Which connection a request takes. What API servers do to requests is in test/attacks/kubernetes/cluster.test.ts. */

import * as client from '@kubernetes/client-node';
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { boundedLibrary, Connections } from './transport.ts';

/** In the place of one that has connections: answers, or fails. */
function makeDispatcher(failure?: Error) {
  const state = { requests: 0, closed: false };
  const request = async () => {
    state.requests += 1;
    if (failure !== undefined) throw failure;
    return { statusCode: 200, headers: {}, body: [Buffer.from('{}')] };
  };
  const close = async () => {
    state.closed = true;
  };
  return { state, request, close };
}

type Made = ReturnType<typeof makeDispatcher>;
type Dispatcher = Parameters<RequestContext['setDispatcher']>[0];

/** Sends one request for which the client has made this dispatcher. */
async function send(connections: Connections, made: Made, credentials: KubeConfig): Promise<number> {
  const request = new RequestContext('https://api.example/x', HttpMethod.GET);
  request.setDispatcher(made as unknown as Dispatcher);
  const travel = { connections, credentials, signal: AbortSignal.timeout(5_000), maxBytes: 10 };
  const { httpStatusCode } = await boundedLibrary(client, travel).send(request).toPromise();
  return httpStatusCode;
}

const closedByServer = (): Error => Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
const credentials = new KubeConfig();

describe('a request', () => {
  test('goes the way of the one before', async () => {
    const [connections, first, second] = [new Connections(), makeDispatcher(), makeDispatcher()];
    await send(connections, first, credentials);
    await send(connections, second, credentials);
    expect([first.state, second.state]).toEqual([
      { requests: 2, closed: false },
      { requests: 0, closed: false },
    ]);
  });

  test('with other credentials goes another, and the old one is closed', async () => {
    const [connections, first, second] = [new Connections(), makeDispatcher(), makeDispatcher()];
    await send(connections, first, credentials);
    await send(connections, second, new KubeConfig());
    expect([first.state, second.state]).toEqual([
      { requests: 1, closed: true },
      { requests: 1, closed: false },
    ]);
  });

  test('does not go the way of one that failed', async () => {
    const [connections, first, second] = [
      new Connections(),
      makeDispatcher(new Error('hangs')),
      makeDispatcher(),
    ];
    await expect(send(connections, first, credentials)).rejects.toThrow('hangs');
    expect(await send(connections, second, credentials)).toBe(200);
    expect([first.state, second.state]).toEqual([
      { requests: 1, closed: true },
      { requests: 1, closed: false },
    ]);
  });

  test('that fails for another reason than a closed connection is not sent again', async () => {
    const [connections, first, second] = [
      new Connections(),
      makeDispatcher(new Error('hangs')),
      makeDispatcher(),
    ];
    connections.take(credentials, first as unknown as Dispatcher);
    await expect(send(connections, second, credentials)).rejects.toThrow('hangs');
    expect(second.state.requests).toBe(0);
  });

  test('is sent again if its kept connection is closed just then, on a connection that others then use', async () => {
    const [connections, first, second] = [
      new Connections(),
      makeDispatcher(closedByServer()),
      makeDispatcher(),
    ];
    connections.take(credentials, first as unknown as Dispatcher);
    expect(await send(connections, second, credentials)).toBe(200);
    expect(await send(connections, makeDispatcher(closedByServer()), credentials)).toBe(200);
    expect([first.state, second.state]).toEqual([
      { requests: 1, closed: true },
      { requests: 2, closed: false },
    ]);
  });
});
