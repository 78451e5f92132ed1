import { once } from 'node:events';
import {
  type HandBackRequest,
  type HandBackResponse,
  TrustService,
  type WatchRequest,
  type WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type WatchDeps, watchTrust } from './watch.ts';

type Stream = grpc.ServerDuplexStream<WatchRequest, WatchResponse>;

/** What happened at the CA, in order, and the streams by the number of their SVID. */
let events: string[];
type HandBackCall = grpc.ServerDuplexStream<HandBackRequest, HandBackResponse>;
let onOpen: (stream: Stream, name: string) => void;
let onHandBack: (call: HandBackCall) => void;
let changed = Promise.withResolvers<void>();
function tell(event: string): void {
  events.push(event);
  changed.resolve();
  changed = Promise.withResolvers();
}
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await changed.promise;
}
const seen = (event: string) => until(() => events.includes(event));

const server = new grpc.Server();
let port: number;
beforeAll(async () => {
  server.addService(TrustService, {
    getBundle: () => {},
    handBack: (call: HandBackCall) => {
      if (String(call.metadata.get('svid')[0]).startsWith(`${runs}.`)) tell('handed back');
      onHandBack(call);
    },
    watch: (stream: Stream) => {
      const [run, name = ''] = String(stream.metadata.get('svid')[0]).split('.');
      const note = (event: string) => run === String(runs) && tell(event);
      note(`open ${name}`);
      stream.on('data', ({ message }: WatchRequest) => {
        if (message?.$case === 'ack') {
          const { sequence, parts } = message.value;
          const said = parts && ` of ${parts.bundle} ${parts.policy} ${parts.revocations}`;
          note(`ack ${name} ${sequence}${said ?? ''}`);
        }
        if (message?.$case === 'hello')
          note(`hello ${name} ${message.value.version} ${message.value.instance.length}`);
      });
      stream.on('cancelled', () => note(`closed ${name}`));
      stream.on('error', () => {});
      onOpen(stream, name);
    },
  });
  port = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
});
afterAll(() => server.forceShutdown());

const snapshot = (sequence: bigint): WatchResponse => ({
  sequence,
  bundle: undefined,
  policy: undefined,
  revocations: undefined,
  successions: [],
  crls: Buffer.alloc(0),
  gateways: 0,
  checkpoint: '',
  readerVersion: 0,
  takesParts: false,
});

/** SVIDs are told apart by their chain's one byte here. */
const svidOf = (number: number) => ({ chain: [Uint8Array.of(number)] }) as unknown as Svid;
const nameOf = (svid: Svid): string => String(svid.chain[0]?.[0]);

/** Pauses either take no time or last until something ends them; the wait for the first snapshot lasts. */
function testClock(pauses: 'jump' | 'wait') {
  const slept: number[] = [];
  const late = Promise.withResolvers<void>();
  let now = new Date('2026-06-01T00:00:00Z');
  const clock: Clock = {
    now: () => now,
    sleepUntil: async (time, signal) => {
      const seconds = (time.getTime() - now.getTime()) / 1000;
      if (seconds === 10) return Promise.race([late.promise, aborted(signal)]);
      slept.push(seconds);
      tell(`pause ${seconds}`);
      if (pauses === 'wait') return aborted(signal).finally(() => tell(`pause of ${seconds} ends`));
      now = addSeconds(now, seconds);
      return undefined;
    },
  };
  return { clock, slept, tenSecondsPass: () => late.resolve() };
}

async function aborted(signal: AbortSignal | undefined): Promise<never> {
  if (signal !== undefined && !signal.aborted) await once(signal, 'abort');
  throw new Error('aborted');
}

/** Streams of an earlier test may close during the next. */
let runs = 0;
let stop: AbortController;
let watching: Promise<void>;
beforeEach(() => {
  runs += 1;
  events = [];
  stop = new AbortController();
  watching = Promise.resolve();
  onOpen = (stream) => stream.write(snapshot(1n));
});
afterEach(async () => {
  stop.abort();
  await watching;
});

function start(changes: Partial<WatchDeps> = {}, pauses: 'jump' | 'wait' = 'wait') {
  const time = testClock(pauses);
  const run = runs;
  const svid = new LiveValue<Svid>(() => new IdentityError('unavailable', 'none'), svidOf(1));
  const accepted: bigint[] = [];
  const deps: WatchDeps = {
    svid,
    onSuccessions: () => {},
    onCrls: () => {},
    onGateways: () => {},
    onRefused: () => {},
    handing: { toHandBack: () => [], handedBack: () => {} },
    targetFor: (current) => ({
      address: `127.0.0.1:${port}`,
      credentials: grpc.credentials.createInsecure(),
      options: {
        'grpc.use_local_subchannel_pool': 1,
        interceptors: [
          (options, next) =>
            new grpc.InterceptingCall(next(options), {
              start: (metadata, listener, go) => {
                metadata.set('svid', `${run}.${nameOf(current)}`);
                go(metadata, listener);
              },
            }),
        ],
      },
    }),
    accept: ({ sequence }) => void accepted.push(sequence),
    taken: () => ['bundle', 'policy', 'revocations'],
    saved: async () => {},
    vouching: { isWanted: () => false, take: () => false },
    recovers: async () => false,
    instance: Buffer.alloc(16),
    version: '1.2.3',
    clock: time.clock,
    random: () => 0.5,
    log: silentLog,
    ...changes,
  };
  watching = watchTrust(deps, stop.signal);
  return { ...time, svid, accepted };
}

test('says hello, and acknowledges what is in force', async () => {
  onOpen = (stream) => {
    stream.write(snapshot(4n));
    stream.write(snapshot(5n));
  };
  const { accepted } = start();
  await seen('ack 1 5');
  expect(events).toEqual(['open 1', 'hello 1 1.2.3 16', 'ack 1 4', 'ack 1 5']);
  expect(accepted).toEqual([4n, 5n]);
});

test('a snapshot that is refused is not acknowledged, and the stream goes on', async () => {
  onOpen = (stream) => {
    stream.write(snapshot(4n));
    stream.write(snapshot(5n));
  };
  const logged: unknown[] = [];
  start({
    accept: ({ sequence }) => {
      if (sequence === 4n) throw new IdentityError('bundle', 'bundle both adds and removes authorities');
    },
    log: { ...silentLog, error: (fields) => logged.push(fields) },
  });
  await seen('ack 1 5');
  expect(events).not.toContain('ack 1 4');
  expect(logged).toEqual([{ err: expect.objectContaining({ code: 'bundle' }), sequence: 4 }]);
});

test.each([
  ['UNAUTHENTICATED', [1]],
  ['PERMISSION_DENIED', []],
  ['UNAVAILABLE', []],
] as const)('a stream that is refused with %s tells of %j', async (code, told) => {
  onOpen = (stream) =>
    stream.emit('error', { code: grpc.status[code], details: 'the peer certificate is not accepted' });
  const refused: number[] = [];
  const { slept } = start({ onRefused: (certificate) => refused.push(...certificate) }, 'wait');
  await until(() => slept.length > 0);
  expect(refused).toEqual(told);
});

test('nothing is acknowledged before it is on disk, or where the disk is full, and what comes later is', async () => {
  const [first, full] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const writes = [first.promise, full.promise, Promise.resolve()];
  full.promise.catch(() => {});
  onOpen = (stream) => {
    for (const sequence of [4n, 5n, 6n]) stream.write(snapshot(sequence));
  };
  const { accepted } = start({ saved: () => writes.shift() ?? Promise.resolve() });
  await until(() => accepted.length === 3);
  await seen('ack 1 6');
  expect(events).not.toContain('ack 1 4');
  full.reject(new IdentityError('file', 'the disk is full'));
  first.resolve();
  await seen('ack 1 4');
  expect(events).not.toContain('ack 1 5');
});

test('a CA that takes parts hears of revocations from a snapshot that is refused', async () => {
  const [policy, takesParts] = [{ version: 1n, resources: [], note: '' }, true];
  onOpen = (stream) => {
    stream.write({ ...snapshot(4n), policy, revocations: revocations(1n, 0n), takesParts });
    stream.write({ ...snapshot(5n), policy, revocations: revocations(2n, 0n), takesParts });
  };
  let taken: ReturnType<WatchDeps['taken']> = [];
  start({
    taken: () => taken,
    accept: ({ sequence }) => {
      taken = sequence === 4n ? ['policy', 'revocations'] : ['revocations'];
      if (sequence === 5n) throw new IdentityError('bundle', 'bundle both adds and removes authorities');
    },
  });
  await seen('ack 1 4 of 0 1 2');
  expect(events).toContain('ack 1 4 of 0 1 1');
});

const revocations = (sequence: bigint, since: bigint) => ({ sequence, list: [], since, gone: [], note: '' });

test.each<readonly [string, Partial<WatchResponse>, WatchDeps['accept']]>([
  ['changes another state', { revocations: revocations(2n, 1n) }, () => {}],
  [
    'revokes its sender',
    {},
    () => {
      throw new IdentityError('revoked_peer', 'the CA is revoked');
    },
  ],
])('a stream whose first snapshot %s is never reported as up', async (_, changes, accept) => {
  onOpen = (stream) => stream.write({ ...snapshot(4n), ...changes });
  const states: (string | undefined)[] = [];
  start({ accept, onState: (failure) => states.push(failure) }, 'jump');
  await until(() => states.length > 2);
  expect(states).not.toContain(undefined);
});

test('what a snapshot leaves out is what the one before on this stream had', async () => {
  const policy = { version: 1n, resources: [], note: '' };
  onOpen = (stream) => {
    stream.write({ ...snapshot(4n), policy, revocations: revocations(1n, 0n) });
    stream.write({ ...snapshot(5n), revocations: revocations(2n, 1n) });
  };
  const whole: Parameters<WatchDeps['accept']>[0][] = [];
  start({ accept: (state) => void whole.push(state) });
  await seen('ack 1 5');
  expect(whole[1]).toMatchObject({ ...snapshot(5n), policy, revocations: revocations(2n, 0n) });
});

test('a change of what was not said ends the stream, and the next one begins with all of it', async () => {
  let streams = 0;
  onOpen = (stream) => {
    streams += 1;
    if (streams === 1) stream.write({ ...snapshot(4n), revocations: revocations(2n, 1n) });
    else stream.write({ ...snapshot(4n), revocations: revocations(2n, 0n) });
  };
  const { accepted } = start({}, 'jump');
  await seen('ack 1 4');
  expect(accepted).toEqual([4n]);
  expect(events.filter((event) => event === 'open 1')).toHaveLength(2);
});

const held = { sequence: 1n, note: 'signed', list: [], checkpoint: '' };
const withoutPauses = () => events.filter((each) => !/^(pause|hello|ack)/.test(each));

test('what it has is handed back before the state of the CA is taken', async () => {
  onHandBack = (call) => void call.write({ wantsRevocations: false });
  const outcomes: string[] = [];
  start({ handing: { toHandBack: () => [held], handedBack: (_, outcome) => void outcomes.push(outcome) } });
  await seen('ack 1 1');
  expect(withoutPauses()).toEqual(['handed back', 'open 1']);
  expect(outcomes).toEqual(['unwanted']);
});

test('I239 a CA that cannot take it for now is followed, and offered it until it has it, also by another SVID', async () => {
  let busy = 3;
  onHandBack = (call) => {
    busy -= 1;
    if (busy >= 0) call.emit('error', { code: grpc.status.RESOURCE_EXHAUSTED, details: 'busy' });
    else call.write({ wantsRevocations: false });
  };
  const outcomes: string[] = [];
  const handing = {
    toHandBack: () => [held],
    handedBack: (_: unknown, outcome: string) => {
      outcomes.push(outcome);
      tell(outcome);
    },
  };
  const { svid, slept } = start({ handing }, 'jump');
  await seen('ack 1 1');
  svid.publish(svidOf(2));
  await seen('closed 1');
  await seen('unwanted');
  expect(withoutPauses().slice(0, 3)).toEqual(['handed back', 'failed', 'open 1']);
  expect(outcomes).toEqual(['failed', 'failed', 'failed', 'unwanted']);
  expect(slept).toEqual([1, 2, 4]);
});

test('I239 what is owed is offered first on the next stream, and no longer on this one', async () => {
  let opened: Stream | undefined;
  onHandBack = (call) => call.emit('error', { code: grpc.status.RESOURCE_EXHAUSTED, details: 'busy' });
  onOpen = (stream) => {
    opened ??= stream;
    stream.write(snapshot(1n));
  };
  const { svid, slept } = start({ handing: { toHandBack: () => [held], handedBack: () => {} } });
  await until(() => slept.length === 1);
  opened?.end();
  await seen('pause of 1 ends');
  await until(() => slept.length === 2);
  svid.publish(svidOf(2));
  await seen('ack 2 1');
  expect(withoutPauses().filter((each) => !each.startsWith('closed'))).toEqual([
    ...['handed back', 'open 1', 'handed back', 'open 2'],
  ]);
});

test('on rotation the new stream is heard before the old one is closed', async () => {
  const { svid } = start();
  await seen('ack 1 1');
  svid.publish(svidOf(2));
  await seen('closed 1');
  expect(events.indexOf('open 2')).toBeGreaterThan(0);
  expect(events.indexOf('open 2')).toBeLessThan(events.indexOf('closed 1'));
  expect(events).not.toContain('closed 2');
});

test('a new stream whose first snapshot is refused takes over all the same', async () => {
  const { svid } = start({
    accept: () => {
      throw new IdentityError('policy', 'not readable');
    },
  });
  await seen('open 1');
  svid.publish(svidOf(2));
  await seen('closed 1');
  svid.publish(svidOf(3));
  await seen('closed 2');
});

test('a rotation during a rotation is not missed', async () => {
  const opened = new Map<string, Stream>();
  onOpen = (stream, name) => {
    opened.set(name, stream);
    if (name !== '2') stream.write(snapshot(1n));
  };
  const { svid } = start();
  await seen('ack 1 1');
  svid.publish(svidOf(2));
  await seen('open 2');
  svid.publish(svidOf(3));
  opened.get('2')?.write(snapshot(2n));
  await seen('closed 2');
  await seen('ack 3 1');
});

test('a CA that opens the stream and says nothing is as good as away', async () => {
  onOpen = () => {};
  const failures: unknown[] = [];
  const { tenSecondsPass } = start({ log: { ...silentLog, warn: (fields) => failures.push(fields) } });
  await seen('hello 1 1.2.3 16');
  tenSecondsPass();
  await seen('pause 0.5');
  await seen('closed 1');
  expect(failures).toEqual([
    { err: expect.objectContaining({ message: expect.stringContaining('said nothing') }), failures: 1 },
  ]);
});

test('a stream that ends comes back after half a second, doubling to thirty, until a snapshot is accepted', async () => {
  let opened = 0;
  onOpen = (stream) => {
    opened += 1;
    if (opened === 9) stream.write(snapshot(1n));
    if (opened === 11) stop.abort();
    else stream.end();
  };
  const { slept } = start({}, 'jump');
  await watching;
  expect(slept).toEqual([0.5, 1, 2, 4, 8, 16, 30, 30, 0.5, 1]);
});

test.each([
  [0, 0.4],
  [1, 0.6],
])('the pause is spread: a draw of %d makes it %d s', async (drawn, expected) => {
  onOpen = (stream) => stream.end();
  const { slept } = start({ random: () => drawn });
  await until(() => slept.length > 0);
  expect(slept[0]).toBeCloseTo(expected, 3);
});

test('a refusal of the CA is told by its sentence', async () => {
  onOpen = (stream) => stream.emit('error', { code: grpc.status.UNAUTHENTICATED, details: 'not accepted' });
  const failures: unknown[] = [];
  start({ log: { ...silentLog, warn: (fields) => failures.push(fields) } });
  await seen('pause 0.5');
  expect(failures).toEqual([{ err: expect.objectContaining({ code: 'refused_by_ca' }), failures: 1 }]);
});

test('a new SVID ends the pause', async () => {
  onOpen = (stream, name) => (name === '1' ? stream.end() : stream.write(snapshot(1n)));
  const { svid } = start();
  await seen('pause 0.5');
  svid.publish(svidOf(2));
  await seen('ack 2 1');
});

test('an abort closes both streams while one takes the other’s place', async () => {
  onOpen = (stream, name) => {
    if (name === '1') stream.write(snapshot(1n));
  };
  const { svid } = start();
  await seen('ack 1 1');
  svid.publish(svidOf(2));
  await seen('hello 2 1.2.3 16');
  stop.abort();
  await watching;
  await seen('closed 1');
  await seen('closed 2');
});

test('an abort during a pause ends it', async () => {
  onOpen = (stream) => stream.end();
  start();
  await seen('pause 0.5');
  stop.abort();
  await watching;
});
