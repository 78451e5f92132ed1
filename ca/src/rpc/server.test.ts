import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { AttestationService, IdentityService } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { RpcServer } from '@chancery/shared/rpc/server.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRpc, type Rpc, stranger } from '../../../test/kit/ca/rpc.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import type { Caller } from './caller.ts';
import { grpcServer } from './server.ts';

const folder = makeFolder();
let rpc: Rpc;
let server: RpcServer;
let listening: net.Server;
let client: grpc.Client;
let caller: Caller = stranger;
beforeAll(async () => {
  rpc = await makeRpc();
  server = grpcServer({ ...rpc, signIn: undefined, connections: 100 });
  const path = join(folder, 'a.sock');
  listening = net.createServer((socket) => {
    rpc.callers.add(socket, caller);
    server.inject(socket);
  });
  await once(listening.listen(path), 'listening');
  client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  listening.close();
  await server.close(100);
  removeFolder(folder);
});

const bytes = (value: Buffer): Buffer => value;
const services = [AttestationService, IdentityService, TrustService, OperatorService];

/** The status of a call that says as little as there is. */
const statusOf = (path: string, message = Buffer.alloc(0)) =>
  new Promise<grpc.StatusObject>((resolve) => {
    // Every call here fails, and a caller may fail twice a second.
    rpc.clock.jump(new Date(rpc.clock.now().getTime() + 1000));
    const call = client.makeBidiStreamRequest(path, bytes, bytes);
    call
      .on('status', resolve)
      .on('error', () => {})
      .resume();
    call.write(message);
    call.end();
  });

test.each(services.flatMap((service) => Object.values(service).map(({ path }) => path)))(
  '%s is answered',
  async (path) => {
    const { code, details } = await statusOf(path);
    expect({ path, code, details }).not.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  },
);

test('a method that is none is not', async () => {
  expect(await statusOf('/chancery.v1.Operator/Shutdown')).toMatchObject({ code: grpc.status.UNIMPLEMENTED });
});

test('no two methods are taken for one another', async () => {
  await statusOf('/chancery.v1.Operator/ListAgents');
  expect(rpc.observed.at(-1)).toMatch(/^ListAgents /);
  await statusOf('/chancery.v1.Identity/Renew');
  expect(rpc.observed.at(-1)).toMatch(/^Renew /);
});

test('I206 no large list that is handed back is read, of no caller', async () => {
  caller = { via: 'join', address: 'uid 4242', peer: { uid: 4242 } } as never;
  const path = join(folder, 'a.sock');
  const local = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const before = client;
  client = local;
  try {
    // Bytes of no message, which would be refused by what reads them.
    const { path: method } = TrustService.handBack;
    const code = grpc.status.RESOURCE_EXHAUSTED;
    expect(await statusOf(method, Buffer.alloc(20 * 1024, 0xff))).toMatchObject({ code });
  } finally {
    client = before;
    caller = stranger;
    local.close();
  }
});
