import { generateKeyPairSync } from 'node:crypto';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { openCheckpoint, signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { noteKey } from '@chancery/shared/tlog/note.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { localhostTls } from '../../../../test/kit/aws/tls.ts';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { type Served, type ServeOptions, type Spoilt, serve } from '../../../../test/kit/http/served.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import type { LogCheckpoint } from '../../store/log-store.ts';
import { startWebhook, type Webhook } from './webhook.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const verifier = noteKey('test.example/chancery/log', publicKey);

let auditor: Served;
let clock: ManualClock;
let newest: LogCheckpoint | undefined;
let hook: Webhook;
const outbound = openOutbound();
const log = { ...silentLog, error: vi.fn(), info: vi.fn() };

/** As strict as an auditor may be: it refuses a text that is not a checkpoint of the log. */
async function listen(options: ServeOptions = {}): Promise<void> {
  auditor = await serve(({ method, target, headers, body }) => {
    const isRight = method === 'POST' && target === '/chancery?of=test';
    const type = headers.get('content-type')?.join();
    if (!isRight || type !== 'text/plain; charset=utf-8') return { status: 400 };
    openCheckpoint(body, verifier);
    return { status: 204 };
  }, options);
}

const sign = (size: number): void => {
  const note = signCheckpoint({ size, root: Buffer.alloc(32, size) }, verifier, privateKey);
  newest = { size, root: '', through: size, note };
};

function start(url = `${auditor.url}/chancery?of=test`): void {
  const store = { checkpoint: async () => newest };
  hook = startWebhook({ url, everySeconds: 60, store, outbound, clock, log });
}

const posted = () => auditor.received.map(({ body }) => openCheckpoint(body, verifier).size);
const asleep = () => vi.waitFor(() => expect(clock.sleeping).toBe(1));

/** Each second up to this one. */
async function pass(from: number, to: number): Promise<void> {
  for (let second = from + 1; second <= to; second += 1) {
    await asleep();
    clock.advanceTo(after(second));
  }
  await asleep();
}

beforeEach(async () => {
  vi.clearAllMocks();
  clock = new ManualClock(NOW);
  newest = undefined;
  await listen();
});
afterEach(async () => {
  await hook.close();
  await auditor.close();
});

test('the first checkpoint is posted at once, then the newest at most once in the given time', async () => {
  start();
  await asleep();
  sign(3);
  await pass(0, 2);
  expect([posted(), hook.uncopiedSeconds()]).toEqual([[3], 0]);
  sign(4);
  await pass(2, 10);
  sign(5);
  await pass(10, 30);
  expect([posted(), hook.uncopiedSeconds()]).toEqual([[3], 27]);
  await pass(30, 62);
  expect([posted(), hook.uncopiedSeconds(), hook.isFailing()]).toEqual([[3, 5], 0, false]);
});

test('a clock that was set back delays no copy for longer than the given time', async () => {
  sign(1);
  start();
  await asleep();
  sign(2);
  clock.jump(after(-3_600));
  clock.advanceTo(after(-3_599));
  // What sleeps until a time of before is not woken by this clock: another start stands for it.
  await hook.close();
  start();
  await asleep();
  expect(posted()).toEqual([1, 2]);
});

const refusals: readonly (readonly [string, Spoilt, RegExp])[] = [
  ['answers 500', () => ({ status: 500 }), /HTTP 500, and a status of 200 to 299 is expected$/],
  ['redirects', (_, { target }) => ({ status: 307, headers: { location: target } }), /HTTP 307/],
  ['cuts its answer off', 'cut', /aborted|hang up|ECONNRESET/],
];
test.each(refusals)(
  'I334 while an address %s, the CA says so once, tries less and less often, and goes on',
  async (_, how, says) => {
    const body = 'no answer that anybody reads';
    auditor.spoil((answer, received) =>
      typeof how === 'function' ? how(answer, received) : { ...answer, body },
    );
    if (typeof how !== 'function') auditor.spoil(how);
    sign(1);
    start();
    await vi.waitFor(() => expect(hook.isFailing()).toBe(true));
    await asleep();
    clock.advanceTo(after(5));
    await vi.waitFor(() => expect(auditor.received).toHaveLength(2));
    await asleep();
    clock.advanceTo(after(14));
    clock.advanceTo(after(15));
    await vi.waitFor(() => expect(auditor.received).toHaveLength(3));
    await asleep();
    expect(log.error.mock.calls.map(([{ err }]) => err.message)).toEqual([expect.stringMatching(says)]);
    expect(hook.uncopiedSeconds()).toBe(15);
    auditor.spoil(undefined);
    sign(9);
    clock.advanceTo(after(35));
    await vi.waitFor(() => expect(hook.isFailing()).toBe(false));
    expect([posted().at(-1), hook.uncopiedSeconds(), log.info.mock.calls.length]).toEqual([9, 0, 1]);
  },
);

test('I334 an address that hangs holds nothing up: a CA that stops ends the post', async () => {
  auditor.spoil('hang');
  sign(1);
  start();
  await vi.waitFor(() => expect(auditor.received).toHaveLength(1));
  await hook.close();
  expect(log.error).not.toHaveBeenCalled();
});

test.each([
  ['of its roots', true],
  ['of others', false],
])('I334 an address with a certificate %s is posted to: %s', async (_, isIts) => {
  await auditor.close();
  const [its, other] = [localhostTls(), localhostTls()];
  await listen({ tls: its.tls });
  sign(1);
  const store = { checkpoint: async () => newest };
  const ca = Buffer.from((isIts ? its : other).ca);
  const url = `${auditor.url}/chancery?of=test`;
  hook = startWebhook({ url, ca, everySeconds: 60, store, outbound, clock, log });
  await asleep();
  expect([posted(), hook.isFailing()]).toEqual(isIts ? [[1], false] : [[], true]);
});
