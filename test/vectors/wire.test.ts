/**
 * What agents and the CA of earlier days said to each other, as bytes: today's code reads it, and today's CA answers it.
 * A field that was renumbered or retyped would change it silently.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { unixTarget } from '@chancery/agent/svid/channel.ts';
import { bundleOf, policyOf } from '@chancery/agent/trust/state/snapshot.ts';
import { WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca/ca.ts';
import { joinAs } from '../kit/ca/join.ts';
import { METHODS, type Recorded, type WireVector } from '../kit/recorded/wire-vector.ts';
import { talk } from '../kit/ca/talk.ts';

const DIR = join(import.meta.dirname, 'wire');
const recordings = readdirSync(DIR).map((file) => {
  const { messages } = JSON.parse(readFileSync(join(DIR, file), 'utf8')) as WireVector;
  return { name: file.replace('.json', ''), messages };
});
const bytesOf = ({ bytes }: Recorded): Buffer => Buffer.from(bytes, 'hex');
/** Field 1000, of length 1. */
const UNKNOWN = Buffer.from('c23e0141', 'hex');

let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({});
  await ca.apply({ kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/workload` });
});
afterAll(() => ca.close());

describe.each(recordings)('a peer of $name', ({ messages }) => {
  test('says nothing that is read as something else today', () => {
    for (const message of messages) {
      const { requestDeserialize, requestSerialize, responseDeserialize, responseSerialize } =
        METHODS[message.method];
      const again =
        message.from === 'agent'
          ? requestSerialize(requestDeserialize(bytesOf(message)) as never)
          : responseSerialize(responseDeserialize(bytesOf(message)) as never);
      expect(hex(again)).toBe(message.bytes);
    }
  });

  test('is answered by a CA of today', async () => {
    const svid = await joinAs(ca);
    const kinds: string[] = [];
    for (const message of messages.filter(({ from }) => from === 'agent').slice(0, 3)) {
      const { path, responseDeserialize } = METHODS[message.method];
      const target = message.method === 'Attest' ? unixTarget(ca.joinSocket) : ca.target(svid);
      const client = new grpc.Client(target.address, target.credentials, target.options);
      const same = (bytes: Buffer): Buffer => bytes;
      const call = talk(client.makeBidiStreamRequest<Buffer, Buffer>(path, same, same));
      call.send(bytesOf(message));
      if (message.method === 'IssueX509') call.end();
      const answer = responseDeserialize(await call.next()) as unknown;
      kinds.push(`${message.method}: ${Object.keys(answer as object).join(' ')}`);
      call.cancel();
      client.close();
    }
    expect(kinds).toEqual([
      'Attest: message',
      'IssueX509: issued',
      expect.stringMatching(/^Watch: sequence bundle policy revocations /),
    ]);
  });

  test('sends a state that an agent of today puts in force', () => {
    const state = messages.find(({ method, from }) => method === 'Watch' && from === 'ca');
    const message = WatchResponse.decode(bytesOf(state as Recorded));
    const trustDomain = parseTrustDomain(TRUST_DOMAIN);
    const authorities = message.bundle?.x509Authorities ?? [];
    const known = { trustDomain, authorities, sequence: 0n };
    expect(bundleOf(message, known).authorities).toEqual(authorities);
    const { policy } = policyOf(message);
    expect([...policy.servers.keys()]).toEqual(['files']);
    expect(message.revocations?.list).toHaveLength(1);
  });

  test('may be newer: an agent ignores the fields that it does not know', () => {
    for (const message of messages.filter(({ from }) => from === 'ca')) {
      const { responseDeserialize } = METHODS[message.method];
      const newer = Buffer.concat([bytesOf(message), UNKNOWN]);
      expect(responseDeserialize(newer)).toEqual(responseDeserialize(bytesOf(message)));
    }
  });
});
