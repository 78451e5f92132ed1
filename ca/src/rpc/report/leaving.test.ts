/** How the stream of a gateway ends: a gateway that leaves is not refused, and each failure has its own code. */
import { AuditService } from '@chancery/proto/gen/chancery/v1/audit.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import { status } from '@grpc/grpc-js';
import { beforeEach, expect, test, vi } from 'vitest';
import {
  applied,
  certifiedCaller,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
} from '../../../../test/kit/ca/rpc.ts';
import { NOW } from '../../../../test/kit/certificates.ts';
import { report } from './report.ts';

const identity = 'spiffe://prod.example/web';
let rpc: Rpc;
beforeEach(async () => {
  vi.restoreAllMocks();
  rpc = await makeRpc();
  await applied(rpc, { kind: 'McpServer', name: 'everything', identity, address: 'a:1' });
});

/** With the first answer of the CA. */
async function begun() {
  const { caller } = await certifiedCaller(rpc, 60);
  const call = new FakeCall(AuditService.report, peerOf(rpc, caller));
  call.run(report(rpc)(rpc));
  call.say({ message: { $case: 'hello', value: { spool: Buffer.alloc(16, 7), oldest: 1n } } });
  await call.next();
  return call;
}
const record = { id: 'a', stage: 'decided', time: NOW.toISOString(), server: 'everything' };
const sayBatch = (call: Awaited<ReturnType<typeof begun>>): void =>
  call.say({
    message: { $case: 'batch', value: { first: 1n, records: [Buffer.from(JSON.stringify(record))] } },
  });

test.each(['end', 'cancelled', 'close'])('a gateway that leaves (%s) is not refused', async (how) => {
  const call = await begun();
  call.emit(how);
  await vi.waitFor(() => expect(call.ended).toHaveBeenCalled());
  await rpc.audit({ type: 'registry.applied', version: 0, changes: [], by: 'the test, as a fence' });
  const types = (await rpc.store.events(0, 1000)).map(({ event }) => event.type);
  expect(types).not.toContain('request.refused');
  expect(rpc.observed).toEqual([expect.stringMatching(/^Report [0-9.]+ ok$/)]);
});

test('a message that cannot be read is not taken for the end of the certificate', async () => {
  const call = await begun();
  call.emit('data', Buffer.of(0xff));
  await expectRefused(rpc, await call.failed, 'message_parse', /./);
});

test('what fails while a batch is counted ends the stream, and is not waited for', async () => {
  vi.spyOn(rpc.limits, 'records').mockImplementation(() => {
    throw new TypeError('a bug');
  });
  const call = await begun();
  sayBatch(call);
  expect(await call.failed).toEqual({ code: status.INTERNAL, details: REFUSALS.internal.says });
});
