/** A door without anything of the CA's: a socket file, callers that the kernel names, and gRPC's own client. */
import { once } from 'node:events';
import { statSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { pid } from 'node:process';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { openDoor } from '../../../test/kit/flood/doors.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { ensure, IdentityError } from '../ground/errors.ts';
import { silentLog } from '../ground/log.ts';
import { Callers } from './callers.ts';
import { type Metadata, methodsFor } from './handler.ts';
import { listenUnix, type UnixPeer } from './listen-unix.ts';
import { type RpcServer, rpcServer } from './server.ts';
import type { Answers } from './stream.ts';

const write = (value: number): Buffer => Buffer.from(JSON.stringify(value));
const read = (bytes: Buffer): number => JSON.parse(bytes.toString());
const codec = {
  requestSerialize: write,
  requestDeserialize: read,
  responseSerialize: write,
  responseDeserialize: read,
};
const PID = { path: '/test.Numbers/Pid', requestStream: false, responseStream: false, ...codec } as const;
const COUNT = { path: '/test.Numbers/Count', requestStream: true, responseStream: true, ...codec } as const;
const UP_TO = { path: '/test.Numbers/UpTo', requestStream: false, responseStream: true, ...codec } as const;

const { unary, serverStream, bidi } = methodsFor<UnixPeer>();
const methods = [
  unary('Pid', PID, async (most, { peer }) => {
    if (peer.pid > most) throw new IdentityError('operator_role', `pid ${peer.pid}`);
    return peer.pid;
  }),
  bidi('Count', COUNT, async (stream) => {
    for (let n = 1; (await stream.read(60)) !== undefined; n += 1) await stream.send(n);
  }),
  serverStream('UpTo', UP_TO, (most, answers) => upTo(most, answers)),
];

async function countUpTo(most: number, { send }: Answers<number, UnixPeer>): Promise<void> {
  for (let n = 1; n <= most; n += 1) await send(n);
}

const upTo = vi.fn(countUpTo);
const admit = vi.fn<(metadata: Metadata) => void>();

let folder: string;
let path: string;
let callers: Callers<UnixPeer>;
let refuse: ReturnType<typeof vi.fn<() => string>>;
let client: grpc.Client;
let close: () => Promise<void>;
let server: RpcServer;
const guard = vi.fn();
beforeEach(async () => {
  folder = makeFolder();
  path = join(folder, 'numbers.sock');
  callers = new Callers();
  refuse = vi.fn(() => 'no');
  guard.mockReset();
  admit.mockReset();
  upTo.mockReset().mockImplementation(countUpTo);
  const deps = { callers, log: silentLog, clock: new ManualClock(NOW), admit, refuse, observe: () => {} };
  server = rpcServer({ channel: {}, handled: methods.map((method) => method(deps)), guard });
  const callerOf = (peer: UnixPeer): UnixPeer => peer;
  const at = { path, mode: 0o600, advice: 'stop it', connections: openDoor(), callerOf };
  const listener = await listenUnix(at, { callers, inject: server.inject, log: silentLog });
  close = async () => {
    await Promise.all([server.close(100), listener.close()]);
  };
  client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
});
afterEach(async () => {
  client.close();
  await close();
  removeFolder(folder);
});

const pidOf = (most: number, metadata = new grpc.Metadata(), written = write) =>
  new Promise<number | undefined>((resolve, reject) => {
    client.makeUnaryRequest(PID.path, written, read, most, metadata, (error, value) =>
      error ? reject(error) : resolve(value),
    );
  });

test('a unary call is answered for the caller that the kernel names', async () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(await pidOf(Number.MAX_SAFE_INTEGER)).toBe(pid);
  expect(callers.size).toBe(1);
  expect(guard).toHaveBeenCalledOnce();
});

test('a refusal has its status and the sentence of the door', async () => {
  await expect(pidOf(0)).rejects.toMatchObject({ code: grpc.status.PERMISSION_DENIED, details: 'no' });
  expect(refuse).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ code: 'operator_role' }),
    'Pid',
    expect.objectContaining({ peer: expect.objectContaining({ pid }) }),
  );
});

test('a stream is answered message by message until its end', async () => {
  const call = client.makeBidiStreamRequest(COUNT.path, write, read);
  for (const each of [7, 7, 7]) call.write(each);
  call.end();
  expect(await call.toArray()).toEqual([1, 2, 3]);
});

test('closing cuts the calls that are open after the grace', async () => {
  const call = client.makeBidiStreamRequest(COUNT.path, write, read);
  const failed = once(call, 'error');
  call.write(7);
  await once(call, 'data');
  await server.close(100);
  expect(await failed).toMatchObject([{ code: grpc.status.CANCELLED }]);
  await vi.waitFor(() => expect(callers.size).toBe(0));
});

test('closing does not wait for connections without calls', async () => {
  await pidOf(Number.MAX_SAFE_INTEGER);
  await server.close(60_000);
  await vi.waitFor(() => expect(callers.size).toBe(0));
});

test('a caller is forgotten with its connection', async () => {
  await pidOf(Number.MAX_SAFE_INTEGER);
  client.close();
  await vi.waitFor(() => expect(callers.size).toBe(0));
});

describe('a server stream', () => {
  const numbers = (most: number, writeRequest = write) =>
    client.makeServerStreamRequest(UP_TO.path, writeRequest, read, most);

  test('answers one request with messages until its handler ends', async () => {
    expect(await numbers(3).toArray()).toEqual([1, 2, 3]);
    expect(upTo).toHaveBeenCalledExactlyOnceWith(
      3,
      expect.objectContaining({
        caller: expect.objectContaining({ peer: expect.objectContaining({ pid }) }),
      }),
    );
    expect(refuse).not.toHaveBeenCalled();
  });

  test('ends with the refusal of its handler, after the messages that were sent', async () => {
    upTo.mockImplementation(async (most, answers) => {
      await countUpTo(most, answers);
      throw new IdentityError('operator_role', 'no more');
    });
    const [call, seen] = [numbers(2), [] as number[]];
    call.on('data', (value: number) => seen.push(value));
    const failed = await new Promise((resolve) => call.on('error', resolve));
    expect(failed).toMatchObject({ code: grpc.status.PERMISSION_DENIED, details: 'no' });
    expect(seen).toEqual([1, 2]);
    expect(refuse).toHaveBeenCalledExactlyOnceWith(
      refusal('operator_role', /^no more$/),
      'UpTo',
      expect.anything(),
    );
  });

  test.each([
    ['a non-canonical request', ' 3', /unknown or non-canonical/],
    ['a request that cannot be decoded', '{', /is not protobuf of this schema/],
  ])('refuses %s before it runs', async (_, bytes, detail) => {
    const call = numbers(3, () => Buffer.from(bytes));
    await expect(call.toArray()).rejects.toMatchObject({ code: grpc.status.INVALID_ARGUMENT });
    expect(refuse.mock.calls).toEqual([[refusal('message_parse', detail), 'UpTo', expect.anything()]]);
    expect(upTo).not.toHaveBeenCalled();
  });

  test('tells its handler that the caller has left', async () => {
    const left = Promise.withResolvers<unknown>();
    upTo.mockImplementation(async (_, { signal, send }) => {
      await send(1);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      left.resolve(await send(2).catch((error: unknown) => error));
    });
    const call = numbers(3);
    call.on('error', () => {});
    call.once('data', () => call.cancel());
    expect(await left.promise).toEqual(refusal('deadline', /^the caller cancelled$/));
  });
});

/** The rule of a SPIFFE endpoint: SPIFFE Workload Endpoint, section 3. */
function admitSpiffe(metadata: Metadata): void {
  const values = metadata('workload.spiffe.io');
  ensure(values.length === 1 && values[0] === 'true', 'message_parse', 'no security header');
}

describe.each<[string, (metadata: grpc.Metadata, written?: typeof write) => Promise<unknown>]>([
  ['unary', (metadata, written) => pidOf(Number.MAX_SAFE_INTEGER, metadata, written)],
  [
    'server stream',
    (metadata, written = write) =>
      client.makeServerStreamRequest(UP_TO.path, written, read, 1, metadata).toArray(),
  ],
  ['duplex', (metadata) => client.makeBidiStreamRequest(COUNT.path, write, read, metadata).end().toArray()],
])('a door that requires metadata, for a %s call', (_, calling) => {
  beforeEach(() => void admit.mockImplementation(admitSpiffe));

  test('admits a call with it', async () => {
    const metadata = new grpc.Metadata();
    metadata.set('workload.spiffe.io', 'true');
    await calling(metadata);
    expect(refuse).not.toHaveBeenCalled();
  });

  test.each<[string, readonly string[]]>([
    ['none', []],
    ['another value', ['false']],
    ['two values', ['true', 'true']],
  ])('refuses a call with %s before it is read', async (__, values) => {
    const metadata = new grpc.Metadata();
    for (const each of values) metadata.add('workload.spiffe.io', each);
    const unreadable = () => Buffer.from('{');
    await expect(calling(metadata, unreadable)).rejects.toMatchObject({ code: grpc.status.INVALID_ARGUMENT });
    expect(refuse).toHaveBeenCalledExactlyOnceWith(
      refusal('message_parse', /^no security header$/),
      expect.any(String),
      expect.anything(),
    );
    expect(upTo).not.toHaveBeenCalled();
  });
});

test('a caller that cannot be identified is disconnected', async () => {
  const inject = vi.fn();
  const warn = vi.fn();
  const other = join(folder, 'other.sock');
  const callerOf = (): UnixPeer => {
    throw new Error('unknown');
  };
  const at = { path: other, mode: 0o600, advice: 'stop it', connections: openDoor(), callerOf };
  const listener = await listenUnix(at, { callers, inject, log: { ...silentLog, warn } });
  const peer = net.connect(other).on('error', () => {});
  try {
    await once(peer.resume(), 'close');
    expect(warn).toHaveBeenCalledOnce();
    expect([inject.mock.calls.length, callers.size]).toEqual([0, 0]);
  } finally {
    peer.destroy();
    await listener.close();
  }
});
