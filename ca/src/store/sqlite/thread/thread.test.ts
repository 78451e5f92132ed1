import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { event, issuance } from '../../../../../test/kit/store/records.ts';
import { storeSuite } from '../../../../../test/kit/store/suite.ts';
import type { Store } from '../../store.ts';
import { openSqlite, openSqliteThread } from '../sqlite.ts';
import type { ToThread } from './messages.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
let files = 0;
const freshPath = (): string => {
  files += 1;
  return join(folder, `${files}.db`);
};
const clock = new ManualClock(NOW);
const post = vi.spyOn(Worker.prototype, 'postMessage');

storeSuite(() => {
  const path = freshPath();
  return (at) => openSqliteThread(path, at);
});

describe('a copy', () => {
  test('has what was written before, writes go on meanwhile, and another at once is refused', async () => {
    const [path, to] = [freshPath(), freshPath()];
    const store = await openSqliteThread(path, clock);
    for (let n = 0; n < 400; n += 1) store.appendSoon(event);
    await store.append(event);
    const copied = store.copyTo(to);
    await expect(store.copyTo(to)).rejects.toThrow(refusal('store', /is being copied already/));
    await store.append(event);
    await copied;
    const copy = await openSqlite(to, clock);
    // The last one may have come while it was made, or after it.
    expect([401, 402]).toContain((await copy.events(0, 1000)).length);
    expect(statSync(to).mode & 0o777).toBe(0o600);
    await Promise.all([copy.close(), store.close()]);
  });

  test('that cannot be written is refused, and the store goes on', async () => {
    const store = await openSqliteThread(freshPath(), clock);
    await expect(store.copyTo(join(folder, 'missing/copy'))).rejects.toThrow(
      refusal('store', /missing\/copy/),
    );
    await store.append(event);
    await store.close();
    await expect(store.copyTo(freshPath())).rejects.toThrow(refusal('store', /the store is closed/));
  });
});

describe('I213 searches', () => {
  const asked = {
    ...{ words: [], text: 'nothing has this', decision: undefined, since: 0, place: undefined },
    ...{ until: Number.MAX_SAFE_INTEGER, backwards: true, limit: 9 },
  };

  test('are answered one by one, after all else that has arrived', async () => {
    const store = await openSqliteThread(freshPath(), clock);
    await Promise.all(Array.from({ length: 4_000 }, () => store.append(event)));
    const order: string[] = [];
    const searches = Array.from({ length: 200 }, () => store.search(asked).then(() => order.push('search')));
    const write = store.append(event).then(() => order.push('write'));
    const read = store.authorities().then(() => order.push('read'));
    await Promise.all([write, read]);
    // In one message with the searches, and before them.
    expect(order.indexOf('write')).toBe(order.filter((each) => each === 'read').length);
    const late = store.append(event).then(() => order.push('late write'));
    await late;
    const before = order.indexOf('late write');
    await Promise.all(searches);
    // It waited for those that were answered while its message came, and not for 200.
    expect(before).toBeLessThan(100);
    expect(order.filter((each) => each === 'search')).toHaveLength(200);
    await store.close();
  });

  test('that wait are answered before the database is closed', async () => {
    const store = await openSqliteThread(freshPath(), clock);
    await store.append(event);
    const searches = Promise.all(Array.from({ length: 20 }, () => store.search({ ...asked, text: '' })));
    await store.close();
    expect((await searches).map(({ more }) => more)).toEqual(Array(20).fill(false));
  });
});

describe('opening', () => {
  test('is refused with the code and the sentence of the thread, and lets the file go', async () => {
    const [path, generation] = [freshPath(), join(folder, 'generation')];
    const first = await openSqlite(path, clock);
    const held = refusal('store', /another process holds it: is a chancery-ca already running/);
    await expect(openSqliteThread(path, clock)).rejects.toThrow(held);
    await first.close();
    writeFileSync(generation, '9\n');
    const older = refusal('store', /the database is older than the CA that last ran here/);
    await expect(openSqliteThread(path, clock, generation)).rejects.toThrow(older);
    const again = await openSqliteThread(path, clock);
    await again.close();
  });
});

describe('a store on a thread', () => {
  let store: Store;
  let worker: Worker;
  beforeEach(async () => {
    store = await openSqliteThread(freshPath(), clock);
    post.mockClear();
    await store.append(event);
    worker = post.mock.contexts.at(-1) as Worker;
  });
  afterEach(() => store.close());

  const messages = () => post.mock.calls.map(([message]) => message as ToThread);

  test('sends what is asked in one turn in one message, and a lone call at once', async () => {
    expect(messages()).toHaveLength(1);
    await Promise.all([store.append(event), store.append(event), store.events(0, 1)]);
    expect(messages()).toHaveLength(2);
    expect(messages()[1]).toMatchObject({ kind: 'calls', calls: [{}, {}, {}] });
  });

  test('sends events that may be late as one call', async () => {
    for (let n = 0; n < 3; n += 1) store.appendSoon(event);
    await store.append(event);
    const [, sent] = messages();
    const names = sent?.kind === 'calls' ? sent.calls.map(({ call }) => call.name) : [];
    expect(names).toEqual(['appendAll', 'append']);
  });

  test('sends no memory beside what is asked', async () => {
    const secret = Buffer.from('the key of the root');
    const memory = Buffer.concat([secret, Buffer.alloc(32, 1)]);
    await store.record({ ...issuance, keySha256: memory.subarray(secret.length) }, event);
    const sent = JSON.stringify(messages(), (_, value) =>
      ArrayBuffer.isView(value) ? Buffer.from(value.buffer).toString('latin1') : value,
    );
    expect(sent).toContain('01'.repeat(32));
    expect(sent).not.toContain(secret.toString());
  });

  test('refuses a value that cannot cross, and continues', async () => {
    const broken = { ...issuance, serial: (() => {}) as never };
    await expect(store.record(broken, event)).rejects.toThrow(refusal('internal', /could not be cloned/));
    await store.record(issuance, event);
  });

  test('when the thread dies, waiting and later calls fail', async () => {
    const gone = refusal(
      'store',
      /\.db: the thread of the database ended; nothing can be signed any more: the CA has to start again/,
    );
    const waiting = [store.record(issuance, event), store.events(0, 1)].map((call) =>
      expect(call).rejects.toThrow(gone),
    );
    await worker.terminate();
    await Promise.all(waiting);
    expect(await store.lost).toEqual(gone);
    await expect(store.append(event)).rejects.toThrow(gone);
    expect(() => store.ensureOwnFiles()).toThrow(gone);
  });

  test('that is closed is not lost', async () => {
    const lost = vi.fn();
    void store.lost.then(lost);
    await store.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lost).not.toHaveBeenCalled();
  });

  test('takes a bounded number of calls while the disk does not answer', async () => {
    const calls = Array.from({ length: 16_385 }, () => store.newestRecordAt());
    const last = calls.pop();
    await expect(last).rejects.toThrow(
      refusal('store', /^16384 calls wait for the database; try again later$/),
    );
    await Promise.all(calls);
    await store.append(event);
  });

  test('says for how long the oldest call has waited', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    post.mockImplementation(() => {});
    const waiting = store.append(event).catch(() => {});
    vi.advanceTimersByTime(5_000);
    const later = store.append(event).catch(() => {});
    vi.advanceTimersByTime(7_000);
    expect(store.waitedSeconds()).toBe(12);
    vi.useRealTimers();
    post.mockReset();
    await worker.terminate();
    await Promise.all([waiting, later]);
    expect(store.waitedSeconds()).toBe(0);
  });

  test('says how many late events are lost where the database takes no more calls', async () => {
    const lost = Promise.withResolvers<[unknown, number]>();
    store.onEventsLost((...told) => lost.resolve(told));
    const calls = Array.from({ length: 16_384 }, () => store.newestRecordAt());
    for (const sequence of [1, 2]) store.appendSoon({ ...event, sequence });
    const refused = expect(store.append(event)).rejects.toThrow(/^16384 calls wait/);
    expect(await lost.promise).toEqual([refusal('store', /^16384 calls wait for the database/), 2]);
    await Promise.all([...calls, refused]);
  });

  test('says how many late events are lost where the thread dies before they are written', async () => {
    const tell = vi.fn();
    store.onEventsLost(tell);
    store.appendSoon(event);
    await worker.terminate();
    await store.close();
    expect(tell).toHaveBeenCalledExactlyOnceWith(refusal('store', /the thread of the database ended/), 1);
  });

  test('that does not close in time fails the waiting calls, and is not waited for', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    post.mockImplementation(() => {});
    const waiting = expect(store.append(event)).rejects.toThrow(
      refusal('store', /^the database did not close within 2\.5 s$/),
    );
    const closed = store.close();
    await vi.advanceTimersByTimeAsync(2_500);
    await Promise.all([waiting, closed]);
    vi.useRealTimers();
    post.mockRestore();
    await worker.terminate();
  });
});
