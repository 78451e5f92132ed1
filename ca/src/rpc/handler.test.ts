import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { TrustService, type WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { FakeCall } from '../../../test/kit/rpc.ts';
import { type Caller, Callers } from './caller.ts';
import { bidi, definitionOf, type HandlerDeps, type Stream, unary } from './handler.ts';

let deps: HandlerDeps & { readonly clock: ManualClock };
let audited: AuditEvent[];
let observed: string[];
const logged = { warn: vi.fn(), error: vi.fn(), debug: vi.fn() };
beforeEach(() => {
  audited = [];
  observed = [];
  for (const each of Object.values(logged)) each.mockReset();
  const clock = new ManualClock(NOW);
  deps = {
    callers: new Callers(),
    audit: async (event) => void audited.push(event),
    log: { ...silentLog, ...logged },
    clock,
    observe: (rpc, seconds, outcome) => observed.push(`${rpc} ${seconds} ${outcome}`),
  };
});

function peerVia(via: 'tls' | 'admin'): string {
  const socket: { remoteAddress?: string } = {};
  deps.callers.add(socket, { via, address: '10.0.0.1', peer: { uid: 0 } } as Caller);
  return `${socket.remoteAddress}:1`;
}

type Answer = { error: Partial<grpc.StatusObject> | null; response: unknown };

/** Calls a unary handler as grpc-js does. */
function call(run: () => Promise<never>, { peer = peerVia('tls'), request = Buffer.alloc(0) } = {}) {
  const handled = unary('ListAgents', OperatorService.listAgents, run)(deps);
  return new Promise<Answer>((resolve) => {
    const handle = handled.run as (call: object, callback: (...answer: unknown[]) => void) => void;
    handle({ getPeer: () => peer, request }, (error, response) =>
      resolve({ error: error as Answer['error'], response }),
    );
  });
}
const refused = (error: unknown) => () => Promise.reject(error);

describe('a unary call', () => {
  test('is answered, and observed with its duration', async () => {
    const { error, response } = await call(async () => {
      deps.clock.jump(after(2));
      return { agents: [] } as never;
    });
    expect({ error, response, observed }).toEqual({
      error: null,
      response: { agents: [] },
      observed: ['ListAgents 2 ok'],
    });
  });

  test('that is refused tells the peer the table’s sentence, and the audit log the reason', async () => {
    const { error } = await call(refused(new IdentityError('csr_pop', 'not signed by the key')));
    expect(error).toEqual({
      code: grpc.status.INVALID_ARGUMENT,
      details: 'the certificate request is not acceptable',
    });
    expect(audited).toEqual([
      {
        type: 'request.refused',
        rpc: 'ListAgents',
        code: 'csr_pop',
        detail: 'not signed by the key',
        peer: '10.0.0.1',
      },
    ]);
    expect(observed).toEqual(['ListAgents 0 csr_pop']);
  });

  test('tells the operator, who has to mend it, the reason', async () => {
    const failing = refused(new IdentityError('resource', 'a.yaml:3: unknown key'));
    expect((await call(failing, { peer: peerVia('admin') })).error?.details).toBe('a.yaml:3: unknown key');
  });

  test('that fails by a fault of ours says nothing of it', async () => {
    const bug = new TypeError('undefined is not a function');
    expect((await call(refused(bug))).error).toEqual({
      code: grpc.status.INTERNAL,
      details: 'something went wrong here',
    });
    expect(logged.error).toHaveBeenCalledWith({ err: bug, rpc: 'ListAgents' }, expect.any(String));
    expect(audited).toMatchObject([{ code: 'internal', detail: 'undefined is not a function' }]);
  });

  test('that is refused for its rate is counted and not recorded', async () => {
    expect((await call(refused(new IdentityError('rate', 'too fast')))).error?.code).toBe(
      grpc.status.RESOURCE_EXHAUSTED,
    );
    expect({ audited, observed }).toEqual({ audited: [], observed: ['ListAgents 0 rate'] });
    expect(logged.warn).not.toHaveBeenCalled();
    const tell = vi.fn();
    deps = { ...deps, turnedAway: { tell, close: () => {} } };
    await call(refused(new IdentityError('rate', 'too fast')));
    expect(tell.mock.calls).toEqual([[{ what: 'calls', whose: 'strangers' }, 'ListAgents: too fast']]);
  });

  test('records 2000 characters of a reason', async () => {
    await call(refused(new IdentityError('svid', 'x'.repeat(3000))));
    expect(audited).toMatchObject([{ detail: 'x'.repeat(2000) }]);
  });

  test('whose refusal cannot be recorded is refused all the same, and that is logged', async () => {
    deps = { ...deps, audit: () => Promise.reject(new IdentityError('store', 'disk full')) };
    expect((await call(refused(new IdentityError('svid', 'no')))).error?.code).toBe(16);
    await vi.waitFor(() => expect(logged.error).toHaveBeenCalledOnce());
  });

  test('of a connection that is gone is refused', async () => {
    expect((await call(refused(new Error('not run')), { peer: 'caller-9:1' })).error?.code).toBe(16);
    expect(audited).toMatchObject([{ code: 'no_peer', peer: 'a connection that is gone' }]);
  });

  test.each([
    ['a field that the schema does not have', '7a0141', /unknown or non-canonical/],
    ['what is no protobuf', 'ff', /is not protobuf of this schema/],
  ])('with %s is refused before it runs', async (_, bytes, detail) => {
    const run = vi.fn();
    const { error } = await call(run, { request: Buffer.from(bytes, 'hex') });
    expect(error?.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(audited).toMatchObject([{ code: 'message_parse', detail: expect.stringMatching(detail) }]);
    expect(run).not.toHaveBeenCalled();
  });
});

type WatchStream = Stream<ReturnType<typeof TrustService.watch.requestDeserialize>, WatchResponse>;

/** A stream that a handler has, and its other side; `finish` ends the handler. */
function streaming(peer = peerVia('tls')) {
  const fake = new FakeCall(TrustService.watch, peer);
  const end = Promise.withResolvers<void>();
  let mine: WatchStream | undefined;
  const handled = bidi('Watch', TrustService.watch, (stream) => {
    mine = stream;
    return end.promise;
  })(deps);
  const failed = new Promise<Partial<grpc.StatusObject>>((resolve) => fake.on('error', resolve));
  (handled.run as (call: object) => void)(fake);
  if (mine === undefined) throw new Error('the handler did not run');
  const say = (sequence: bigint): void => fake.say({ message: { $case: 'ack', value: { sequence } } });
  return { fake, say, stream: mine, finish: end.resolve, fail: end.reject, failed };
}
const sequenceOf = (message: Awaited<ReturnType<WatchStream['read']>>) =>
  message?.message?.$case === 'ack' ? message.message.value.sequence : undefined;

describe('a stream', () => {
  test('gives messages in order, whether they wait or are waited for, and then their end', async () => {
    const { fake, say, stream } = streaming();
    say(1n);
    say(2n);
    expect([await stream.read(1), await stream.read(1)].map(sequenceOf)).toEqual([1n, 2n]);
    const third = stream.read(1);
    say(3n);
    expect(sequenceOf(await third)).toBe(3n);
    const none = stream.read(1);
    fake.emit('end');
    expect(await none).toBeUndefined();
    expect(await stream.read(1)).toBeUndefined();
  });

  test('takes no more from its peer until what came is read', async () => {
    const { fake, say, stream } = streaming();
    say(1n);
    expect(fake.flow).toEqual(['pause']);
    await stream.read(1);
    expect(fake.flow).toEqual(['pause', 'resume']);
  });

  test('refuses to wait longer than it is told', async () => {
    const { stream } = streaming();
    const late = stream.read(10);
    deps.clock.advanceTo(after(10));
    await expect(late).rejects.toThrow(refusal('deadline', /^no message came within 10 s$/));
  });

  test.each([
    ['cancelled', /^the caller cancelled$/],
    ['close', /^the stream is closed$/],
    ['error', /^the stream failed$/],
  ])('that ends by %s ends whoever reads, sends or listens', async (event, message) => {
    const { fake, stream } = streaming();
    const reading = stream.read(10);
    fake.emit(event, new Error('gone'));
    const answers = await Promise.allSettled([reading, stream.read(10), stream.send({} as WatchResponse)]);
    for (const answer of answers) expect(answer).toMatchObject({ reason: refusal('deadline', message) });
    expect(stream.signal.aborted).toBe(true);
    expect(fake.written).toEqual([]);
  });

  test('refuses a message that is not of the schema', async () => {
    const { fake, stream } = streaming();
    fake.emit('data', Buffer.from('7a0141', 'hex'));
    await expect(stream.read(1)).rejects.toThrow(refusal('message_parse', /unknown or non-canonical/));
  });

  test('is ended after its handler, and observed', async () => {
    const { fake, finish } = streaming();
    finish();
    await vi.waitFor(() => expect(fake.ended).toHaveBeenCalledOnce());
    expect(observed).toEqual(['Watch 0 ok']);
  });

  test('that is refused says so to the peer, unless it is gone', async () => {
    const { fail, failed } = streaming();
    fail(new IdentityError('out_of_order', 'expected hello'));
    expect(await failed).toEqual({ code: 9, details: 'the messages came out of order' });
    const gone = streaming();
    gone.fake.destroyed = true;
    const says = vi.fn();
    gone.fake.on('error', says);
    gone.fail(new IdentityError('out_of_order', 'expected hello'));
    await vi.waitFor(() => expect(audited).toHaveLength(2));
    expect(says).not.toHaveBeenCalled();
  });

  test('of a connection that is gone is refused before its handler', async () => {
    const fake = new FakeCall(TrustService.watch, 'caller-9:1');
    const failed = new Promise((resolve) => fake.on('error', resolve));
    const run = vi.fn();
    (bidi('Watch', TrustService.watch, run)(deps).run as (call: object) => void)(fake);
    expect(await failed).toMatchObject({ code: 16 });
    expect(run).not.toHaveBeenCalled();
  });
});

test('grpc-js hands bytes through unread', () => {
  const handled = unary('ListAgents', OperatorService.listAgents, refused(new Error()))(deps);
  const path = '/chancery.v1.Operator/ListAgents';
  const { [path]: method } = definitionOf([handled]);
  const bytes = Buffer.from('anything');
  expect(method?.requestDeserialize(bytes)).toBe(bytes);
  expect(method?.path).toBe(path);
});
