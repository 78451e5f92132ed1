import { EventEmitter } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { IdentityError } from '../ground/errors.ts';
import { silentLog } from '../ground/log.ts';
import { Callers } from './callers.ts';
import { type HandlerDeps, methodsFor } from './handler.ts';
import { definitionOf } from './method.ts';
import type { Stream } from './stream.ts';

/** A number in canonical JSON is as good as a message of protobuf. */
const write = (value: number): Buffer => Buffer.from(JSON.stringify(value));
const read = (bytes: Buffer): number => JSON.parse(bytes.toString());
const codec = {
  requestSerialize: write,
  requestDeserialize: read,
  responseSerialize: write,
  responseDeserialize: read,
};
const TWICE = { path: '/test.Numbers/Twice', requestStream: false, responseStream: false, ...codec } as const;
const COUNT = { path: '/test.Numbers/Count', requestStream: true, responseStream: true, ...codec } as const;

/** What this door knows of its callers. */
interface Caller {
  readonly uid: number;
}
const { unary, bidi } = methodsFor<Caller>();
const PEER: Caller = { uid: 7 };

let deps: HandlerDeps<Caller> & { readonly clock: ManualClock };
let refused: readonly unknown[][];
let observed: string[];
const error = vi.fn();
beforeEach(() => {
  const told: unknown[][] = [];
  [refused, observed] = [told, []];
  error.mockReset();
  deps = {
    callers: new Callers<Caller>(),
    log: { ...silentLog, error },
    clock: new ManualClock(NOW),
    refuse: ({ code, message }, rpc, caller) => {
      told.push([code, message, rpc, caller]);
      return `refused: ${code}`;
    },
    observe: (rpc, seconds, outcome) => observed.push(`${rpc} ${seconds} ${outcome}`),
  };
});

function peer(): string {
  const socket: { remoteAddress?: string } = {};
  deps.callers.add(socket, PEER);
  return `${socket.remoteAddress}:1`;
}

type Answer = { error: Partial<grpc.StatusObject> | null; response: unknown };

/** Calls a unary handler as grpc-js does. */
function call(
  run: (request: number, caller: Caller) => Promise<number>,
  { from = peer(), request = '21' } = {},
) {
  const handle = unary('Twice', TWICE, run)(deps).run as (
    call: object,
    callback: (...answer: unknown[]) => void,
  ) => void;
  return new Promise<Answer>((resolve) => {
    handle({ getPeer: () => from, request: Buffer.from(request) }, (failed, response) =>
      resolve({ error: failed as Answer['error'], response }),
    );
  });
}
const failing = (why: unknown) => () => Promise.reject(why);

describe('a unary call', () => {
  test('is answered by its handler, which has the message and the caller, and is observed', async () => {
    const run = vi.fn(async (request: number) => {
      deps.clock.jump(after(2));
      return 2 * request;
    });
    const answer = await call(run);
    expect({ answer, observed, refused }).toEqual({
      answer: { error: null, response: 42 },
      observed: ['Twice 2 ok'],
      refused: [],
    });
    expect(run).toHaveBeenCalledExactlyOnceWith(21, PEER);
  });

  test('that ends before it began, by a clock that was set back, took no time', async () => {
    await call(async () => {
      deps.clock.jump(after(-60));
      return 1;
    });
    expect(observed).toEqual(['Twice 0 ok']);
  });

  test('that is refused has the status of the table and what the door says, told once', async () => {
    const answer = await call(failing(new IdentityError('csr_pop', 'not signed by the key')));
    expect(answer.error).toEqual({ code: grpc.status.INVALID_ARGUMENT, details: 'refused: csr_pop' });
    expect(refused).toEqual([['csr_pop', 'not signed by the key', 'Twice', PEER]]);
    expect(observed).toEqual(['Twice 0 csr_pop']);
    expect(error).not.toHaveBeenCalled();
  });

  test('that fails by a fault of ours is logged, and refused as internal', async () => {
    const bug = new TypeError('undefined is not a function');
    const answer = await call(failing(bug));
    expect(answer.error).toEqual({ code: grpc.status.INTERNAL, details: 'refused: internal' });
    expect(refused).toEqual([['internal', 'undefined is not a function', 'Twice', PEER]]);
    expect(error).toHaveBeenCalledWith({ err: bug, rpc: 'Twice' }, expect.any(String));
  });

  test('of a connection that is gone is refused before it runs', async () => {
    const run = vi.fn();
    const answer = await call(run, { from: 'caller-9:1' });
    expect(answer.error?.code).toBe(grpc.status.UNAUTHENTICATED);
    expect(refused).toEqual([['no_peer', 'the connection is gone', 'Twice', undefined]]);
    expect(run).not.toHaveBeenCalled();
  });

  test.each([
    ['what does not encode to the same bytes', ' 21', /unknown or non-canonical/],
    ['what cannot be decoded', '{', /is not protobuf of this schema/],
  ])('with %s is refused before it runs', async (_, request, detail) => {
    const run = vi.fn();
    const answer = await call(run, { request });
    expect(answer.error?.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(refused).toEqual([['message_parse', expect.stringMatching(detail), 'Twice', PEER]]);
    expect(run).not.toHaveBeenCalled();
  });
});

/** A duplex call, as the server's side of grpc-js has it. */
class FakeCall extends EventEmitter {
  readonly written: number[] = [];
  readonly flow: string[] = [];
  readonly ended = vi.fn();
  destroyed = false;
  readonly #from: string;

  constructor(from: string) {
    super();
    this.#from = from;
  }
  getPeer = (): string => this.#from;
  pause = (): void => void this.flow.push('pause');
  resume = (): void => void this.flow.push('resume');
  end = (): void => this.ended();
  write(message: number, done: () => void): void {
    this.written.push(message);
    done();
  }
}

type CountStream = Stream<number, number, Caller>;

/** A stream that a handler has, and its other side; `finish` ends the handler. */
function streaming(from = peer()) {
  const fake = new FakeCall(from);
  const end = Promise.withResolvers<void>();
  let mine: CountStream | undefined;
  const handled = bidi('Count', COUNT, (stream) => {
    mine = stream;
    return end.promise;
  })(deps);
  const failed = new Promise<Partial<grpc.StatusObject>>((resolve) => fake.on('error', resolve));
  (handled.run as (call: object) => void)(fake);
  if (mine === undefined) throw new Error('the handler did not run');
  const say = (value: number): void => void fake.emit('data', write(value));
  return { fake, say, stream: mine, finish: end.resolve, fail: end.reject, failed };
}

describe('a stream', () => {
  test('gives messages in order, whether they wait or are waited for, and then their end', async () => {
    const { fake, say, stream } = streaming();
    say(1);
    say(2);
    expect([await stream.read(1), await stream.read(1)]).toEqual([1, 2]);
    const third = stream.read(1);
    say(3);
    expect(await third).toBe(3);
    const none = stream.read(1);
    fake.emit('end');
    expect(await none).toBeUndefined();
    expect(await stream.read(1)).toBeUndefined();
  });

  test('takes no more from its peer until what came is read', async () => {
    const { fake, say, stream } = streaming();
    say(1);
    expect(fake.flow).toEqual(['pause']);
    await stream.read(1);
    expect(fake.flow).toEqual(['pause', 'resume']);
  });

  test('waits for no time limit of a message that has come', async () => {
    const { say, stream } = streaming();
    const reading = stream.read(3600);
    expect(deps.clock.sleeping).toBe(1);
    say(1);
    await reading;
    expect(deps.clock.sleeping).toBe(0);
  });

  test('gives no message that came just before its caller left', async () => {
    const { fake, say, stream } = streaming();
    const reading = stream.read(10);
    say(1);
    fake.emit('cancelled');
    await expect(reading).rejects.toThrow(refusal('deadline', /^the caller cancelled$/));
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
  ])('that ends by %s ends reads, writes and listeners', async (event, message) => {
    const { fake, stream } = streaming();
    const reading = stream.read(10);
    fake.emit(event, new Error('gone'));
    const answers = await Promise.allSettled([reading, stream.read(10), stream.send(1)]);
    for (const answer of answers) expect(answer).toMatchObject({ reason: refusal('deadline', message) });
    expect(stream.signal.aborted).toBe(true);
    expect(fake.written).toEqual([]);
  });

  test('refuses a message that is not of the schema', async () => {
    const { fake, stream } = streaming();
    fake.emit('data', Buffer.from('1 '));
    await expect(stream.read(1)).rejects.toThrow(refusal('message_parse', /unknown or non-canonical/));
  });

  test('is ended after its handler, and observed', async () => {
    const { fake, finish } = streaming();
    finish();
    await vi.waitFor(() => expect(fake.ended).toHaveBeenCalledOnce());
    expect(observed).toEqual(['Count 0 ok']);
  });

  test('that is refused says so to the peer, unless it is gone', async () => {
    const { fail, failed } = streaming();
    fail(new IdentityError('out_of_order', 'expected hello'));
    expect(await failed).toEqual({ code: 9, details: 'refused: out_of_order' });
    const gone = streaming();
    gone.fake.destroyed = true;
    const says = vi.fn();
    gone.fake.on('error', says);
    gone.fail(new IdentityError('out_of_order', 'expected hello'));
    await vi.waitFor(() => expect(refused).toHaveLength(2));
    expect(says).not.toHaveBeenCalled();
  });

  test('knows its caller', () => {
    expect(streaming().stream.caller).toBe(PEER);
  });

  test('of a connection that is gone is refused before its handler', async () => {
    const fake = new FakeCall('caller-9:1');
    const failed = new Promise((resolve) => fake.on('error', resolve));
    const run = vi.fn();
    (bidi('Count', COUNT, run)(deps).run as (call: object) => void)(fake);
    expect(await failed).toMatchObject({ code: 16 });
    expect(run).not.toHaveBeenCalled();
  });
});

test('grpc-js hands bytes through unread', () => {
  const { [TWICE.path]: method } = definitionOf([unary('Twice', TWICE, vi.fn())(deps)]);
  const bytes = Buffer.from('anything');
  expect(method?.requestDeserialize(bytes)).toBe(bytes);
  expect(method?.path).toBe(TWICE.path);
});
