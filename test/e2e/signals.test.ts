/** What SIGTERM and SIGHUP do to both programs, whatever is connected. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { connectFrom, stranger } from '../kit/flood/stranger.ts';
import {
  type CaFolder,
  isRunning,
  killLeft,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'signals.example';
const dir = makeFolder();
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w` };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
});
afterAll(async () => {
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

const hungUp = async (running: Running): Promise<void> => {
  const seen = (): number => running.log().split('SIGHUP ignored').length;
  const before = seen();
  running.child.kill('SIGHUP');
  await vi.waitFor(() => expect(seen()).toBe(before + 1));
  expect(running.child.exitCode).toBeNull();
};

test('SIGHUP ends neither program; the agent ends at SIGTERM with 0', async () => {
  await hungUp(serving);
  const agent = await makeAgent(ca, 'a', { evidence: { unix: {} } }).run();
  await hungUp(agent);
  await agent.stop();
  expect(agent.child.exitCode).toBe(0);
});

test('I67 SIGUSR1 opens no debugger in either program', async () => {
  const agent = await makeAgent(ca, 'b', { evidence: { unix: {} } }).run();
  for (const running of [serving, agent]) {
    running.child.kill('SIGUSR1');
    running.child.kill('SIGUSR1');
    await hungUp(running);
    // The debugger, where it starts, says so on standard error, from a thread of its own.
    await expect(
      vi.waitFor(() => expect(running.log()).toContain('Debugger listening'), { timeout: 1_000 }),
    ).rejects.toThrow();
  }
  await agent.stop();
}, 60_000);

test('I80 SIGTERM ends an agent, and the command of an output that hangs, with what it started', async () => {
  const pids = join(dir, 'pids');
  const script = `trap "" TERM; sleep 600 & echo $! $$ > ${pids}; while :; do sleep 600; done`;
  const outputs = [{ dir: 'out', command: ['/bin/sh', '-c', script] }];
  const agent = await makeAgent(ca, 'c', { evidence: { unix: {} }, outputs }).run();
  await vi.waitFor(() => expect(readFileSync(pids, 'utf8')).toMatch(/\n$/), { timeout: 30_000 });
  await agent.stop();
  expect(agent.child.exitCode).toBe(0);
  const started = readFileSync(pids, 'utf8').trim().split(' ').map(Number);
  expect(started).toHaveLength(2);
  await vi.waitFor(() => expect(started.filter(isRunning)).toEqual([]), { timeout: 30_000 });
}, 90_000);

test('I95 a later signal, also another one, ends an agent at once, and the command of an output with it', async () => {
  const pids = join(dir, 'later');
  const script = `trap "" TERM; sleep 600 & echo $! $$ > ${pids}; while :; do sleep 600; done`;
  const outputs = [{ dir: 'out', command: ['/bin/sh', '-c', script] }];
  const agent = await makeAgent(ca, 'd', { evidence: { unix: {} }, outputs }).run();
  await vi.waitFor(() => expect(readFileSync(pids, 'utf8')).toMatch(/\n$/), { timeout: 30_000 });
  const again = setInterval(() => agent.child.kill('SIGINT'), 50);
  await agent.stop();
  clearInterval(again);
  const started = readFileSync(pids, 'utf8').trim().split(' ').map(Number);
  try {
    expect([agent.child.exitCode, agent.child.signalCode]).toEqual([130, null]);
    expect(started).toHaveLength(2);
    await vi.waitFor(() => expect(started.filter(isRunning)).toEqual([]), { timeout: 30_000 });
  } finally {
    killLeft(started);
  }
}, 90_000);

test('SIGTERM ends the CA with 0 while calls, silent connections and late connections are open', async () => {
  const call = stranger('127.0.0.2', ca.port);
  call.call('/chancery.v1.Attestation/Attest');
  await once(call.session, 'connect');
  const silent = Array.from({ length: 20 }, () => connectFrom('127.0.0.3', ca.port));
  const local = net.connect(ca.joinSocket).on('error', () => {});
  await Promise.all([...silent, local].map((socket) => once(socket, 'connect')));
  const began = performance.now();
  const stopped = serving.stop();
  const late = stranger('127.0.0.4', ca.port);
  await stopped;
  expect(serving.child.exitCode).toBe(0);
  // 5 s by the program's own clock; the rest is for a busy machine. Without a bound it is minutes.
  expect(performance.now() - began).toBeLessThan(20_000);
  for (const each of [call, late]) each.close();
  for (const socket of [...silent, local]) socket.destroy();
});
