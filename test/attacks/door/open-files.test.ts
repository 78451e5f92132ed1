/** A CA process with few open files allowed, and its local ports full of silent connections: rows I47, I48 and I56. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { connectFrom, fallSilent } from '../../kit/flood/stranger.ts';
import {
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  startProgram,
} from '../../kit/processes.ts';

/** A little above what the CA needs at least. */
const OPEN_FILES = 640;
const folder = makeFolder();
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  ca = await makeCa(folder, 'files.example', { attestors: { unix: {} } });
  serving = await startProgram(CA_MAIN, ['serve', '--config', ca.config], process.env, OPEN_FILES);
  await ca.saveBundle();
  await ca.apply([{ kind: 'Identity', name: 'w', platform: 'unix', id: 'spiffe://files.example/w' }]);
});
afterAll(async () => {
  await serving?.stop();
  removeFolder(folder);
});
const open: net.Socket[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});
const kept = (socket: net.Socket): net.Socket => {
  open.push(socket.on('error', () => {}).resume());
  return socket;
};
const descriptors = (): number => readdirSync(`/proc/${serving.child.pid}/fd`).length;

test('I47 one user takes all of join.sock: joins and the operator go on', async () => {
  const before = descriptors();
  const sockets = Array.from({ length: 1000 }, () => kept(net.connect(ca.joinSocket)));
  await vi.waitFor(() => expect(sockets.every((each) => !each.connecting)).toBe(true));
  await vi.waitFor(() => expect(descriptors() - before).toBeLessThan(OPEN_FILES / 4), 9_000);
  const { issue } = joiner('local');
  expect(await issue()).toMatchObject({ status: 0 });
  expect(await ca.cli('agents')).toMatchObject({ status: 0 });
});

test('I48 silent connections take the health port: the next probe is answered', async () => {
  for (let n = 0; n < 200; n += 1)
    kept(connectFrom(n % 2 === 0 ? '127.0.0.1' : `127.0.30.${n}`, ca.httpPort));
  await vi.waitFor(() => expect(open.filter((each) => !each.closed).length).toBeLessThanOrEqual(64));
  for (const path of ['healthz', 'readyz', 'metrics'])
    expect((await fetch(`http://127.0.0.1:${ca.httpPort}/${path}`)).status).toBe(200);
});

test('I56 all ports together, from many addresses, leave descriptors for the operator', async () => {
  for (let n = 0; n < 600; n += 1) kept(fallSilent(connectFrom(`127.0.31.${n % 250}`, ca.port)));
  for (let n = 0; n < 300; n += 1) kept(net.connect(ca.joinSocket));
  for (let n = 0; n < 100; n += 1) kept(connectFrom('127.0.0.1', ca.httpPort));
  await vi.waitFor(() => expect(open.every((each) => !each.connecting)).toBe(true));
  expect(descriptors()).toBeLessThan(OPEN_FILES - 100);
  expect(await ca.cli('agents')).toMatchObject({ status: 0 });
});

test('I56 a CA that may open too few files says so and does not start', async () => {
  const other = await makeCa(join(folder, 'other'), 'files.example', { attestors: { unix: {} } });
  const args = ['--nofile=300', process.execPath, CA_MAIN, 'serve', '--config', other.config];
  const child = spawn('prlimit', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const [said] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect(child.exitCode).toBe(2);
  expect(said).toMatch(/only 300 open files are allowed, at least \d+ are needed: raise/);
});

function joiner(name: string) {
  const { cli, dir } = makeAgent(ca, name, { evidence: { unix: {} } });
  return { issue: () => cli('issue', '--out', join(dir, 'out')) };
}
