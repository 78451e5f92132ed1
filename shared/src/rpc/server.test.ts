/** A door without anything of the CA's: a socket file, callers that the kernel names, and gRPC's own client. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { openDoor } from '../../../test/kit/flood/doors.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { IdentityError } from '../ground/errors.ts';
import { silentLog } from '../ground/log.ts';
import { Callers } from './callers.ts';
import { methodsFor } from './handler.ts';
import { listenUnix, type UnixPeer } from './listen-unix.ts';
import { rpcServer } from './server.ts';

const write = (value: number): Buffer => Buffer.from(JSON.stringify(value));
const read = (bytes: Buffer): number => JSON.parse(bytes.toString());
const codec = {
  requestSerialize: write,
  requestDeserialize: read,
  responseSerialize: write,
  responseDeserialize: read,
};
const PID = { path: '/test.Numbers/Pid', requestStream: false, responseStream: false, ...codec };
const COUNT = { path: '/test.Numbers/Count', requestStream: true, responseStream: true, ...codec };

const { unary, bidi } = methodsFor<UnixPeer>();
const methods = [
  unary('Pid', PID, async (most, { peer }) => {
    if (peer.pid > most) throw new IdentityError('operator_role', `pid ${peer.pid}`);
    return peer.pid;
  }),
  bidi('Count', COUNT, async (stream) => {
    for (let n = 1; (await stream.read(60)) !== undefined; n += 1) await stream.send(n);
  }),
];

let folder: string;
let path: string;
let callers: Callers<UnixPeer>;
let refuse: ReturnType<typeof vi.fn<() => string>>;
let client: grpc.Client;
let close: () => Promise<void>;
const guard = vi.fn();
beforeEach(async () => {
  folder = makeFolder();
  path = join(folder, 'numbers.sock');
  callers = new Callers();
  refuse = vi.fn(() => 'no');
  guard.mockReset();
  const deps = { callers, log: silentLog, clock: new ManualClock(NOW), refuse, observe: () => {} };
  const server = rpcServer({ channel: {}, handled: methods.map((method) => method(deps)), guard });
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

const pidOf = (most: number) =>
  new Promise<number | undefined>((resolve, reject) => {
    client.makeUnaryRequest(PID.path, write, read, most, (error, value) =>
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

test('a caller is forgotten with its connection', async () => {
  await pidOf(Number.MAX_SAFE_INTEGER);
  client.close();
  await vi.waitFor(() => expect(callers.size).toBe(0));
});
