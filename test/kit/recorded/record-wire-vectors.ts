/**
 * Records test/vectors/wire from a running CA, by `node test/kit/recorded/record-wire-vectors.ts NAME`: the bytes of a
 * join, one more certificate and one trust stream. A recording is never made again under its name: it is what peers of
 * that day say. Keys are made for it and thrown away.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Target, unixTarget } from '@chancery/agent/svid/channel.ts';
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import * as grpc from '@grpc/grpc-js';
import { startTestCa, TRUST_DOMAIN } from '../ca/ca.ts';
import { freshCsr, helloMessage, joinAs } from '../ca/join.ts';
import { talk } from '../ca/talk.ts';
import { METHODS, type Recorded, type WireVector } from './wire-vector.ts';

const DIR = join(import.meta.dirname, '../../vectors/wire');
const [name] = process.argv.slice(2);
if (name === undefined || !/^[a-z0-9-]+$/.test(name)) throw new Error('usage: record-wire-vectors.ts NAME');
const file = join(DIR, `${name}.json`);
if (existsSync(file)) throw new Error(`${file} is there already`);

const id = `spiffe://${TRUST_DOMAIN}/workload`;
const resources = [
  { kind: 'Identity', name: 'workload', platform: 'unix', id },
  {
    kind: 'McpServer',
    name: 'files',
    identity: `spiffe://${TRUST_DOMAIN}/files`,
    address: 'files.test:8443',
  },
  { kind: 'Access', name: 'rule', who: [id], servers: ['files'], tools: { allow: ['read_*'] } },
];
const messages: Recorded[] = [];
const ca = await startTestCa({});
try {
  await ca.apply(...resources);
  const hello = await helloMessage();
  await converse('Attest', unixTarget(ca.joinSocket), [
    AttestationClient.service.attest.requestSerialize(hello),
  ]);
  const svid = await joinAs(ca);
  const more = { csrs: [await freshCsr()], succeeds: Buffer.alloc(0), scope: '' };
  await converse('IssueX509', ca.target(svid), [IdentityClient.service.issueX509.requestSerialize(more)]);
  const { requestSerialize } = TrustClient.service.watch;
  await ca.revoke('id', `spiffe://${TRUST_DOMAIN}/another`);
  const watch = { $case: 'hello', value: { instance: randomBytes(16), version: '0.1.0' } } as const;
  await converse('Watch', ca.target(svid), [requestSerialize({ message: watch })]);
  messages.push(
    asked(
      'Watch',
      requestSerialize({ message: { $case: 'ack', value: { sequence: 1n, parts: undefined } } }),
    ),
  );
} finally {
  await ca.close();
}
mkdirSync(DIR, { recursive: true });
const vector: WireVector = { messages };
writeFileSync(file, `${JSON.stringify(vector, null, 2)}\n`);

/** Sends each, and records it and one answer to it. */
async function converse(
  method: keyof typeof METHODS,
  target: Target,
  said: readonly Buffer[],
): Promise<void> {
  const client = new grpc.Client(target.address, target.credentials, target.options);
  const same = (bytes: Buffer): Buffer => bytes;
  const call = talk(client.makeBidiStreamRequest<Buffer, Buffer>(METHODS[method].path, same, same));
  for (const bytes of said) {
    call.send(bytes);
    messages.push(asked(method, bytes));
    if (method === 'IssueX509') call.end();
    messages.push({ method, from: 'ca', bytes: hex(await call.next()) });
  }
  call.cancel();
  client.close();
}

function asked(method: keyof typeof METHODS, bytes: Uint8Array): Recorded {
  return { method, from: 'agent', bytes: hex(bytes) };
}
