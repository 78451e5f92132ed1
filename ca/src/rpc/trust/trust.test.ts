import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type SnapshotParts,
  TrustService,
  type WatchRequest,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  applied,
  callUnary,
  certifiedCaller,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import { after } from '../../../../test/kit/certificates.ts';
import { bundleMessage } from './snapshot.ts';
import { getBundle, watch } from './trust.ts';

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});

const ack = (sequence: bigint, parts?: SnapshotParts): WatchRequest => ({
  message: { $case: 'ack', value: { sequence, parts } },
});
const hello = (changes: object = {}): WatchRequest => ({
  message: { $case: 'hello', value: { instance: randomBytes(16), version: '1.0', ...changes } },
});

async function watching(caller?: Parameters<typeof peerOf>[1]) {
  const { caller: certified, issued } = await certifiedCaller(rpc, 60);
  const call = new FakeCall(TrustService.watch, peerOf(rpc, caller ?? certified));
  call.run(watch(rpc)(rpc));
  return { call, issued };
}
/** With the first state on its way. */
async function followed() {
  const { call, issued } = await watching();
  call.say(hello());
  const first = await call.next();
  return { call, first, issued };
}
const server = (name: string) => ({
  kind: 'McpServer',
  name,
  identity: 'spiffe://prod.example/web',
  address: 'a:1',
});
const refused = async (call: Awaited<ReturnType<typeof watching>>['call'], code: Refusal, detail: RegExp) =>
  expectRefused(rpc, await call.failed, code, detail);

test('a bundle says which authorities retire', () => {
  const retiring = [Uint8Array.of(1, 2), Uint8Array.of(3)];
  const { retiringX509 } = bundleMessage({ ...rpc.authorities.bundle.current(), retiring }, rpc);
  expect(retiringX509).toEqual(retiring.map((keyId) => Buffer.from(keyId)));
});

test('anyone may have the bundle', async () => {
  const { response } = await callUnary(getBundle(rpc)(rpc), peerOf(rpc, stranger), new Uint8Array());
  const { trustDomain, authorities, sequence } = rpc.authorities.bundle.current();
  expect(response).toMatchObject({ trustDomain, sequence, x509Authorities: authorities, jwtAuthorities: [] });
});

/** As an agent of 0.1.0 sends them, before acknowledgements had parts. */
const recorded: { readonly messages: readonly { method: string; from: string; bytes: string }[] } =
  JSON.parse(readFileSync(join(import.meta.dirname, '../../../../test/vectors/wire/0-1-0.json'), 'utf8'));
const [oldHello, oldAck] = recorded.messages
  .filter(({ method, from }) => method === 'Watch' && from === 'agent')
  .map(({ bytes }) => Buffer.from(bytes, 'hex'));

describe('what an agent has acknowledged', () => {
  const acknowledgedBy = (sequence: bigint) =>
    vi.waitFor(() => {
      const [agent] = rpc.agents.list();
      expect(agent?.acknowledged.sequence).toBe(sequence);
      return agent?.acknowledged.parts;
    });

  test('is each part of a snapshot, where it knows no parts, by the bytes of then', async () => {
    const { call } = await watching();
    call.emit('data', oldHello);
    expect(await call.next()).toMatchObject({ sequence: 1n, takesParts: true });
    call.emit('data', oldAck);
    expect(await acknowledgedBy(1n)).toEqual({ bundle: 1n, policy: 0n, revocations: 0n });
  });

  test('is a part of a snapshot that it does not follow, and on record', async () => {
    const { call } = await followed();
    call.say(ack(1n, { bundle: 1n, policy: 0n, revocations: 0n }));
    await applied(rpc, server('one'));
    expect(await call.next()).toMatchObject({ sequence: 2n });
    call.say(ack(1n, { bundle: 1n, policy: 1n, revocations: 0n }));
    await vi.waitFor(async () => {
      const events = (await rpc.store.events(0, 100)).map(({ event }) => event);
      expect(events.at(-1)).toMatchObject({
        type: 'agent.acknowledged',
        sequence: 1,
        bundle: 1,
        policy: 1,
        revocations: 0,
      });
    });
    expect(rpc.agents.list()[0]?.acknowledged.has({ policy: 1n })).toBe(true);
  });
});

describe('a watcher', () => {
  test('is disconnected if its snapshot cannot be made, and the log says why', async () => {
    const { call } = await followed();
    const error = vi.spyOn(rpc.log, 'error');
    const { bundle } = rpc.authorities;
    vi.spyOn(bundle, 'current').mockImplementationOnce(() => {
      throw new Error('out of memory');
    });
    await applied(rpc, server('one'));
    expect(await call.failed).toMatchObject({ details: 'something went wrong here' });
    expect(error).toHaveBeenCalledWith(
      expect.anything(),
      expect.stringMatching(/snapshot could not be sent/),
    );
    error.mockRestore();
  });

  test('gets the state, then each change of it, and is on record and on the list', async () => {
    await applied(rpc, server('one'));
    const { call, first, issued } = await followed();
    expect(first).toMatchObject({
      sequence: 2n,
      policy: { version: 1n },
      bundle: { sequence: 1n },
    });
    expect(first.policy?.resources.map((each) => JSON.parse(each).name)).toEqual(['one']);
    await applied(rpc, server('one'), server('two'));
    expect(await call.next()).toMatchObject({ sequence: 3n, policy: { version: 2n } });
    call.say(ack(2n));
    call.say(ack(3n));
    await vi.waitFor(() => expect(rpc.agents.list()[0]?.acknowledged.sequence).toBe(3n));
    expect(rpc.agents.list()).toMatchObject([
      { serial: issued.serial, platform: 'fake', node: 'n1', version: '1.0' },
    ]);
    // Each is written when its message was read; the disk may have it later.
    const types = await vi.waitFor(async () => {
      const events = (await rpc.store.events(0, 100)).map(({ event }) => event.type);
      expect(events.filter((type) => type === 'agent.acknowledged')).toHaveLength(2);
      return events;
    });
    expect(types.slice(-3)).toEqual(['registry.applied', 'agent.acknowledged', 'agent.acknowledged']);
    expect(types).toContain('agent.connected');
  });

  test('gets only the changed parts, and all parts on a new stream', async () => {
    await applied(rpc, server('one'));
    const order = { target: parseTarget('id', 'spiffe://prod.example/a'), seconds: 0, by: 'the test' };
    const { call, first } = await followed();
    expect(first).toMatchObject({ sequence: 2n, revocations: { sequence: 0n, list: [] } });
    await rpc.revocations.revoke({ ...order, reason: 'superseded' });
    const revoked = {
      number: 1n,
      kind: 'id',
      value: 'spiffe://prod.example/a',
      serials: [],
      reason: 'superseded',
      until: 0n,
    };
    const whole = { sequence: 3n, list: [revoked], since: 0n, gone: [], note: '' };
    expect(await call.next()).toMatchObject({ sequence: 3n, policy: undefined, revocations: whole });
    await applied(rpc, server('two'));
    expect(await call.next()).toMatchObject({
      sequence: 4n,
      policy: { version: 2n },
      revocations: undefined,
    });
    await rpc.revocations.revoke({ ...order, reason: 'superseded', seconds: 60 });
    const until = BigInt(rpc.clock.now().getTime() / 1000 + 60);
    const second = { ...revoked, number: 2n, until };
    const added = { sequence: 5n, list: [second], since: 3n, gone: [], note: '' };
    expect(await call.next()).toMatchObject({ sequence: 5n, policy: undefined, revocations: added });
    await rpc.revocations.lift(1, 'the test');
    const lifted = { sequence: 6n, list: [], since: 5n, gone: [1n], note: '' };
    expect(await call.next()).toMatchObject({ sequence: 6n, revocations: lifted });
    const all = { sequence: 6n, list: [second], since: 0n, gone: [], note: '' };
    expect((await followed()).first).toMatchObject({
      sequence: 6n,
      policy: { version: 2n },
      revocations: all,
    });
  });

  test('gets two changes of one moment, each under a greater number', async () => {
    const { call, first } = await followed();
    expect(first).toMatchObject({ sequence: 1n });
    const target = parseTarget('id', 'spiffe://prod.example/a');
    const revoked = { target, reason: 'superseded', seconds: 0, by: 'the test' } as const;
    await Promise.all([applied(rpc, server('one')), rpc.revocations.revoke(revoked)]);
    const [second, third] = [await call.next(), await call.next()];
    expect([second?.sequence, third?.sequence]).toEqual([2n, 3n]);
    const told = [second, third].map((each) => [each?.policy !== undefined, each?.revocations !== undefined]);
    expect(told.toSorted()).toEqual([
      [false, true],
      [true, false],
    ]);
  });

  test('that is a gateway listens once for successions, whatever is applied, until it leaves', async () => {
    let [listening, most] = [0, 0];
    const { changes } = rpc.successions;
    const { onChange } = changes;
    vi.spyOn(changes, 'onChange').mockImplementation((listener) => {
      const stop = onChange.call(changes, listener);
      listening += 1;
      most = Math.max(most, listening);
      return () => {
        listening -= 1;
        stop();
      };
    });
    await applied(rpc, server('one'));
    const { call } = await followed();
    for (const name of ['a', 'b', 'c']) await applied(rpc, server(name));
    expect([listening, most]).toEqual([1, 1]);
    call.emit('cancelled');
    await vi.waitFor(() => expect(listening).toBe(0));
  });

  test('that is slow gets the newest state, not a queue of old ones', async () => {
    const { call } = await followed();
    const drained: (() => void)[] = [];
    vi.spyOn(call, 'write').mockImplementation((message, done) => {
      call.written.push(message);
      drained.push(done);
    });
    for (const name of ['a', 'b', 'c', 'd']) await applied(rpc, server(name));
    expect(call.written.map(({ sequence }) => sequence)).toEqual([2n]);
    drained.shift()?.();
    await vi.waitFor(() => expect(call.written.map(({ sequence }) => sequence)).toEqual([2n, 5n]));
  });

  test('that leaves is no refusal, and is off the list', async () => {
    for (const leave of ['end', 'cancelled']) {
      const { call } = await followed();
      call.emit(leave);
      await vi.waitFor(() => expect(call.ended).toHaveBeenCalledOnce());
      expect(rpc.agents.size).toBe(0);
    }
    expect(rpc.observed).toEqual(['Watch 0 ok', 'Watch 0 ok']);
    const before = rpc.observed.length;
    await applied(rpc, server('later'));
    expect(rpc.observed).toHaveLength(before);
  });

  test('has a version that is fit for a terminal', async () => {
    const { call } = await watching();
    call.say(hello({ version: `\u001b[31m1.0 ${'x'.repeat(100)}` }));
    await call.next();
    expect(rpc.agents.list()[0]?.version).toBe(`??31m1.0?${'x'.repeat(55)}`);
  });

  test.each<[string, WatchRequest, Refusal, RegExp]>([
    ['acknowledges before it says hello', ack(1n), 'out_of_order', /^expected hello, found ack$/],
    ['says nothing', { message: undefined }, 'out_of_order', /^expected hello, found nothing$/],
    [
      'has an instance of 15 bytes',
      hello({ instance: randomBytes(15) }),
      'message_parse',
      /^instance is 15 bytes, not 16$/,
    ],
  ])('that %s is refused', async (_, message, code, detail) => {
    const { call } = await watching();
    call.say(message);
    await refused(call, code, detail);
    expect(rpc.agents.size).toBe(0);
  });

  test.each<[string, readonly WatchRequest[], RegExp]>([
    ['says hello twice', [hello()], /^expected an acknowledgement$/],
    ['acknowledges nothing', [ack(0n)], /^acknowledged 0 after 0$/],
    ['acknowledges twice', [ack(1n), ack(1n)], /^acknowledged 1 after 1$/],
    ['acknowledges backwards', [ack(1n), ack(0n)], /^acknowledged 0 after 1$/],
    ['acknowledges what was never sent', [ack(2n)], /^acknowledged 2, which was not sent$/],
    [
      'acknowledges a part that was never sent',
      [ack(1n, { bundle: 1n, policy: 1n, revocations: 0n })],
      /^acknowledged policy 1, which was not sent$/,
    ],
  ])('that %s is refused', async (_, messages, detail) => {
    const { call } = await followed();
    for (const message of messages) call.say(message);
    await refused(call, 'out_of_order', detail);
    expect(rpc.agents.size).toBe(0);
  });

  test('is cut at the end of its certificate', async () => {
    const { call } = await followed();
    await vi.waitFor(() => expect(rpc.agents.size).toBe(1));
    rpc.clock.advanceTo(after(61));
    await refused(call, 'expired_peer', /^the certificate of spiffe:\/\/prod.example\/web has expired$/);
  });

  test('is cut at its first message after that, should no timer have come', async () => {
    const { call } = await followed();
    rpc.clock.jump(after(61));
    call.say(ack(1n));
    await refused(call, 'expired_peer', /sent a message after its end$/);
  });

  test('without a certificate is refused', async () => {
    const none = { ...stranger, svid: (await certifiedCaller(rpc)).caller.svid };
    const { call } = await watching({
      ...none,
      via: 'join',
      peer: { pid: 1, uid: 0, gid: 0, ensureStillThere() {}, close() {} },
    });
    await refused(call, 'no_peer', /^this needs a certificate, so not a unix socket$/);
  });

  test('that the disk has no place for is told, and let go', async () => {
    const { call } = await watching();
    vi.spyOn(rpc.store, 'append').mockRejectedValueOnce(new TypeError('a bug'));
    call.say(hello());
    expect(await call.failed).toMatchObject({ details: 'something went wrong here' });
    expect(rpc.agents.size).toBe(0);
  });
});

describe('a gateway is told how many share its rates', () => {
  const counted = async (call: FakeCall<typeof TrustService.watch>) => {
    const { sequence, gateways } = await call.next();
    return [sequence !== 0n, gateways];
  };
  test('with its policy, and when one comes, leaves and is back', async () => {
    await applied(rpc, server('one'));
    const { call, first } = await followed();
    expect(first.gateways).toBe(1);
    const { call: second } = await watching();
    second.say(hello());
    expect([await counted(second), await counted(call)]).toEqual([
      [true, 2],
      [false, 2],
    ]);
    // It may serve on without the CA, until the next one of its machine is there.
    second.emit('cancelled');
    await vi.waitFor(() => expect(rpc.agents.size).toBe(1));
    expect(rpc.serving.count(parseSpiffeId('spiffe://prod.example/web'))).toBe(2);
    const { call: third } = await watching();
    third.say(hello());
    expect(await counted(third)).toEqual([true, 2]);
    expect(call.written).toEqual([]);
  });
  test('and an agent that is none is not', async () => {
    const { first, call } = await followed();
    expect(first.gateways).toBe(0);
    await applied(rpc, server('one'));
    expect(await counted(call)).toEqual([true, 1]);
  });
});
