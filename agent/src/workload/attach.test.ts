import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { base64 } from '@chancery/shared/ground/bytes.ts';
import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { attestedExtension } from '@chancery/shared/x509/attested.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { afterAll, expect, test, vi } from 'vitest';
import { after, makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { attach, readStatus } from './attach.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('an agent of another release ends the attempt, with what to do', async () => {
  const socket = join(dir, 'agent.sock');
  const server = http.createServer((_, response) => response.end('{"svid":"2026"}\n')).listen(socket);
  await once(server, 'listening');
  const attempt = attach(
    { socket, clock: systemClock, random: () => 0, log: silentLog },
    AbortSignal.timeout(60_000),
  );
  await expect(attempt).rejects.toEqual(
    refusal(
      'message_parse',
      /^the agent at .*agent\.sock is of another release than this program: restart the agent$/,
    ),
  );
  server.close();
});

const id = parseSpiffeId('spiffe://prod.example/web');
const root = makeAuthority('Root');
const line = {
  svidNotAfter: after(3600).toISOString(),
  bundle: { trustDomain: 'prod.example', authorities: [base64(root.certificate.der)], sequence: '1' },
  policy: { version: '1', resources: [] },
  revocations: { sequence: '0', list: [] },
};

/** An agent's socket: one line on its trust stream, and a certificate for each CSR. */
async function serveAgent(
  socket: string,
  onCsr: (path?: string) => void = () => {},
  scope?: string,
): Promise<http.Server> {
  const extensions = scope === undefined ? {} : { attested: attestedExtension({ ...NOT_ATTESTED, scope }) };
  const server = http.createServer(async (request, response) => {
    if (request.method === 'GET') {
      response.write(`${JSON.stringify(line)}\n`);
      return;
    }
    onCsr(request.url);
    const { spki } = verifyCsr(Buffer.concat(await request.toArray()));
    const { certificate } = makeLeaf(id, root, { fields: { spki }, extensions });
    const renewAfter = after(1800).getTime() / 1000;
    response.end(JSON.stringify({ id, chain: [base64(certificate.der)], renewAfter }));
  });
  await once(server.listen(socket), 'listening');
  return server;
}

async function end(server: http.Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

test('an agent that does not answer is asked less and less often, and soon again after an answer', async () => {
  const socket = join(dir, 'away.sock');
  /** In seconds. Each lasts one turn of the event loop. */
  const pauses: number[] = [];
  const clock: Clock = {
    now: () => NOW,
    sleepUntil: (time) => {
      pauses.push((time.getTime() - NOW.getTime()) / 1000);
      return new Promise((resolve) => setImmediate(resolve));
    },
  };
  const stop = new AbortController();
  const attached = attach({ socket, clock, random: () => 0.5, log: silentLog }, stop.signal);
  await vi.waitFor(() => expect(pauses.length).toBeGreaterThan(7));
  expect(pauses.slice(0, 7)).toEqual([0.5, 1, 2, 4, 8, 10, 10]);
  const server = await serveAgent(socket);
  const { svid, close } = await attached;
  expect(svid.current().id).toBe(id);
  const before = pauses.length;
  await end(server);
  await vi.waitFor(() => expect(pauses.length).toBeGreaterThan(before + 2));
  expect(pauses.slice(before, before + 3)).toEqual([0.5, 1, 2]);
  close();
});

test('I332 where the clock is behind, the one certificate is used once it is valid', async () => {
  const socket = join(dir, 'behind.sock');
  const certified = vi.fn();
  const server = await serveAgent(socket, certified);
  let now = new Date(makeLeaf(id, root).certificate.notBefore.getTime() - 25_000);
  const waits: Date[] = [];
  const clock: Clock = {
    now: () => now,
    sleepUntil: async (time) => {
      waits.push(time);
      now = time;
    },
  };
  const stop = new AbortController();
  const { svid, close } = await attach({ socket, clock, random: () => 0.5, log: silentLog }, stop.signal);
  expect(waits).toEqual([svid.current().notBefore]);
  expect(certified).toHaveBeenCalledTimes(1);
  close();
  await end(server);
});

test('the pauses of many processes beside one agent differ', async () => {
  const pauseAt = async (random: number): Promise<number> => {
    const stop = new AbortController();
    const slept = Promise.withResolvers<number>();
    const sleepUntil: Clock['sleepUntil'] = async (time) => {
      slept.resolve((time.getTime() - NOW.getTime()) / 1000);
      stop.abort();
    };
    const clock = { now: () => NOW, sleepUntil };
    const options = { socket: join(dir, 'none.sock'), clock, random: () => random, log: silentLog };
    await attach(options, stop.signal).catch(() => {});
    return slept.promise;
  };
  expect([await pauseAt(0), await pauseAt(1)]).toEqual([0.4, 0.6]);
});

test('an agent that does not answer in time is stopped or busy, and is not to be run again', async () => {
  const time = vi
    .spyOn(AbortSignal, 'timeout')
    .mockReturnValue(AbortSignal.abort(new DOMException('time is up', 'TimeoutError')));
  await expect(readStatus('/d/agent.sock')).rejects.toMatchObject({
    code: 'unavailable',
    message: 'the agent at /d/agent.sock has not answered in time: it is stopped or busy',
  });
  time.mockRestore();
});

test.each([
  ['read', 'read'],
  ['read', undefined],
  ['read', 'other'],
  [undefined, 'read'],
])(
  'a process that wants scope %s takes no certificate of scope %s, unless they are one',
  async (scope, given) => {
    const socket = join(dir, 'scoped.sock');
    const asked: (string | undefined)[] = [];
    const server = await serveAgent(socket, (path) => asked.push(path), given);
    const clock: Clock = { ...systemClock, now: () => NOW };
    const stop = new AbortController();
    const attempt = attach({ socket, scope, clock, random: () => 0, log: silentLog }, stop.signal);
    if (scope === given) (await attempt).close();
    else {
      const says = new RegExp(`^the certificate has the scope ${given}, not ${scope}$`);
      await expect(attempt).rejects.toEqual(refusal('svid', says));
    }
    expect(asked[0]).toBe(scope === undefined ? '/v1/svid' : '/v1/svid/read');
    stop.abort();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  },
);
