/** What is said on the wire, how much of it and in which order: rows I24, I26, I30, I33. */
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join as joinPath } from 'node:path';
import { unixTarget } from '@chancery/agent/svid/channel.ts';
import { Limits } from '@chancery/ca/door/limits.ts';
import { type Caller, limitKeys } from '@chancery/ca/rpc/caller.ts';
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { freshCsr, helloMessage, openAttest } from '../../kit/ca/join.ts';
import { expectRefusal, talk } from '../../kit/ca/talk.ts';
import { root } from '../../kit/processes.ts';

const LIMITS = {
  attestationsPerSecond: 1,
  attestationBurst: 40,
  openAttestations: 30,
  openAttestationsPerAddress: 20,
};
const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w` };
let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({ limits: { ...LIMITS, attestationsPerSecond: 1000, attestationBurst: 10_000 } });
  await ca.apply(identity);
});
afterAll(() => ca.close());

/** The Attest method with messages that are bytes already. */
function rawAttest() {
  const { address, credentials, options } = unixTarget(ca.joinSocket);
  const client = new grpc.Client(address, credentials, options);
  const same = (bytes: Buffer): Buffer => bytes;
  const call = client.makeBidiStreamRequest('/chancery.v1.Attestation/Attest', same, same);
  return { ...talk<Buffer, Buffer>(call), close: () => client.close() };
}

const AttestBytes = async (changes = {}): Promise<Buffer> => {
  const { requestSerialize } = AttestationClient.service.attest;
  return requestSerialize(await helloMessage(changes));
};

describe('messages', () => {
  const spoiled: readonly (readonly [string, (genuine: Buffer) => Buffer, RegExp])[] = [
    [
      'a field that the schema does not have',
      (genuine) => Buffer.concat([genuine, Buffer.from([0x7a, 1, 0x41])]),
      /unknown/,
    ],
    ['a message cut short', (genuine) => genuine.subarray(0, -3), /not protobuf|unknown/],
    ['no protobuf', () => Buffer.from('hello'), /not protobuf|unknown/],
    [
      'a length that is longer than it needs to be',
      (genuine) => padLength(genuine),
      /unknown or non-canonical/,
    ],
  ];
  test.each(spoiled)('I33 %s', async (_, spoil, detail) => {
    const attest = rawAttest();
    attest.send(spoil(await AttestBytes()));
    await expectRefusal(ca, await attest.status(), 'message_parse', detail);
    attest.close();
  });

  test('I33 the same bytes unspoiled', async () => {
    const attest = rawAttest();
    attest.send(await AttestBytes());
    expect((await attest.next()).length).toBeGreaterThan(500);
    attest.close();
  });

  test('I33 a message of 100 MB', async () => {
    const attest = rawAttest();
    attest.send(Buffer.alloc(100 << 20));
    expect(await attest.status()).toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
    attest.close();
  });

  async function refused(
    messages: readonly Parameters<ReturnType<typeof openAttest>['send']>[0][],
    code: Refusal,
    detail: RegExp,
  ) {
    const attest = openAttest(ca);
    for (const message of messages) attest.send(message);
    attest.end();
    await expectRefusal(ca, await attest.status(), code, detail);
    attest.close();
  }
  const evidence = {
    message: { $case: 'evidence' as const, value: { nonce: Buffer.alloc(32), evidence: Buffer.alloc(1) } },
  };

  test('I33 evidence before hello', () =>
    refused([evidence], 'out_of_order', /expected hello, found evidence/));
  test('I33 an empty message', () =>
    refused([{ message: undefined }], 'out_of_order', /expected hello, found nothing/));
  test('I33 no message at all', () => refused([], 'out_of_order', /expected hello, found nothing/));

  test('I33 a deadline that is over', async () => {
    const { address, credentials, options } = unixTarget(ca.joinSocket);
    const client = new AttestationClient(address, credentials, options);
    const attest = talk(client.attest({ deadline: Date.now() - 1 }));
    expect(await attest.status()).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
    client.close();
  });

  test('I33 a caller that leaves in the middle gets nothing and holds nothing', async () => {
    const before = (await ca.store.issued({ limit: 1000 })).length;
    for (let n = 0; n < 5; n += 1) {
      const attest = openAttest(ca);
      attest.send(await helloMessage({ csr: Buffer.concat([await freshCsr(), Buffer.alloc(1)]) }));
      attest.close();
    }
    const attest = openAttest(ca);
    attest.send(await helloMessage());
    await attest.next();
    attest.close();
    expect((await ca.store.issued({ limit: 1000 })).length).toBe(before + 1);
  });

  test('I33 a trust stream that begins with an acknowledgement, and has no certificate', async () => {
    const { address, credentials, options } = ca.target();
    const client = new TrustClient(address, credentials, options);
    const watching = talk(client.watch());
    watching.send({ message: { $case: 'ack', value: { sequence: 9n, parts: undefined } } });
    await expectRefusal(ca, await watching.status(), 'no_peer', /no certificate/);
    client.close();
  });
});

/** As Prometheus sees it. */
async function untilOpen(count: number): Promise<void> {
  for (;;) {
    const metrics = await (await fetch(`http://127.0.0.1:${ca.running.httpPort}/metrics`)).text();
    if (metrics.includes(`\nchancery_open_exchanges ${count}\n`)) return;
  }
}

/** The first length, of one byte pair, written in three bytes: the same number to a lenient reader. */
function padLength(genuine: Buffer): Buffer {
  const [tag = 0, low = 0, high = 0] = genuine;
  return Buffer.concat([Buffer.from([tag, low, high | 0x80, 0x00]), genuine.subarray(3)]);
}

describe('floods', () => {
  test('I24 silent streams: the bound holds, the next is refused at once, and places come free', async () => {
    const open = Array.from({ length: LIMITS.openAttestationsPerAddress }, () => openAttest(ca));
    await untilOpen(LIMITS.openAttestationsPerAddress);
    const refused = openAttest(ca);
    refused.send(await helloMessage());
    expect(await refused.status()).toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
    // What is refused for its rate is counted and not recorded, or a flood would fill the disk.
    expect((await ca.refusals()).some(({ code }) => code === 'rate')).toBe(false);
    for (const each of [...open, refused]) each.close();
    await untilOpen(0);
    const attest = openAttest(ca);
    attest.send(await helloMessage());
    await attest.next();
    attest.close();
  });

  test('I24 a stream that says nothing is ended', async () => {
    const attest = openAttest(ca);
    await untilOpen(1);
    ca.clock.move(11);
    await expectRefusal(ca, await attest.status(), 'deadline', /within 10 s/);
    attest.close();
  });

  const settings = {
    attestationsPerSecond: 1,
    attestationBurst: 5,
    openAttestations: 30,
    openAttestationsPerAddress: 3,
  };
  const enter = (limits: Limits) => limits.enter('stranger', { address: 'a' }).leave;
  const frozen = (at: { now: Date }) => ({ now: () => at.now, sleepUntil: async () => {} });

  test('I24 one address has three open, then no more until one is closed', () => {
    const limits = new Limits(settings, frozen({ now: new Date() }));
    const [leave] = [enter(limits), enter(limits), enter(limits)];
    expect(() => enter(limits)).toThrow(
      expect.objectContaining({ code: 'rate', message: expect.stringMatching(/a has 3/) }),
    );
    leave();
    leave();
    enter(limits);
    expect(limits.open).toBe(3);
  });

  test('I24 one address starts five at once, then one a second', () => {
    const at = { now: new Date() };
    const limits = new Limits(settings, frozen(at));
    const start = () => enter(limits)();
    for (let n = 0; n < 5; n += 1) start();
    expect(start).toThrow(
      expect.objectContaining({ code: 'rate', message: expect.stringMatching(/faster/) }),
    );
    at.now = new Date(at.now.getTime() + 1000);
    start();
    expect(start).toThrow(expect.objectContaining({ code: 'rate' }));
  });

  test.each([
    ['an IPv4 address', { via: 'tls', address: '192.0.2.7' }, '192.0.2.7'],
    ['an IPv4 address on an IPv6 socket', { via: 'tls', address: '::ffff:192.0.2.7' }, '192.0.2.7'],
    [
      'an IPv6 network, however many addresses it has',
      { via: 'tls', address: '2001:db8:1:2:3:4:5:6' },
      '2001:db8:1:2::/64',
    ],
    ['the same network, abbreviated', { via: 'tls', address: '2001:db8:1:2::9' }, '2001:db8:1:2::/64'],
    ['a network that ends in zeros', { via: 'tls', address: '2001:db8::9' }, '2001:db8:0:0::/64'],
    ['a user, however many processes it has', { via: 'join', peer: { uid: 1000 } }, 'uid 1000'],
  ])('I24 a limit counts %s as one', (_, caller, key) => {
    expect(limitKeys(caller as unknown as Caller).address).toBe(key);
  });

  test('I24 all addresses together have thirty open', () => {
    const limits = new Limits(settings, frozen({ now: new Date() }));
    for (let n = 0; n < 40; n += 1) limits.enter('stranger', { address: `address-${n}` });
    expect(limits.open).toBe(30);
  });

  test('I24 bytes that are no TLS hold nothing open', async () => {
    const socket = net.connect(ca.running.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
  });
});

/** What a token or a region could make it ask for is in the rows C1, C9, C15, C22, C26 and C33. */
test('I26 the CA dials nobody that its config does not name: no file of it opens an outgoing connection', () => {
  const files = readdirSync(joinPath(root, 'ca/src'), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const dials = /(?<!#)\bfetch\(|\.connect\(|https?\.(get|request)\(|new [A-Z]\w*Client\(|createConnection\(/;
  const found = sources.filter((name) => dials.test(readFileSync(joinPath(root, 'ca/src', name), 'utf8')));
  // The commands, which an operator runs, call the CA, by its own socket or where they are told.
  const commands = ['cli/bundle.ts', 'cli/login/login.ts', 'cli/login/proof.ts', 'cli/operator/admin.ts'];
  // The region of KMS is in the config.
  expect(found.toSorted()).toEqual([...commands, 'keys/aws-kms/client.ts']);
});

test('I30 control characters from outside stay inside their JSON string', async () => {
  const platform = 'unix"}\n{"type":"svid.issuing"}\u001b[31m';
  const attest = openAttest(ca);
  attest.send(await helloMessage({ platform }));
  await expectRefusal(ca, await attest.status(), 'platform_unknown', /is not one to 4 platform names/);
  attest.close();
  const line = JSON.stringify((await ca.refusals()).at(-1));
  expect([...line].every((each) => each >= ' ')).toBe(true);
});
