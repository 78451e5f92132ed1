/** A CA that was restored without its log: agents hand back what it has forgotten, with real programs. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type AgentFolder,
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'again.example';
const idOf = (name: string) => `spiffe://${TRUST_DOMAIN}/${name}`;
const identity = (name: string) => ({
  ...{ kind: 'Identity', name, platform: 'unix', id: idOf(name), x509: { ttl: '1h' } },
});
const PATIENCE = { timeout: 90_000, interval: 300 };

let dir: string;
let ca: CaFolder;
let serving: Running;
let folders: Readonly<Record<'gateway' | 'web', AgentFolder>>;
const running = new Map<string, Running>();
let copy: string;
beforeAll(async () => {
  dir = makeFolder();
  const server = { kind: 'McpServer', name: 's', identity: idOf('gateway'), address: '127.0.0.1:1' };
  const resources = [identity('gateway'), identity('web'), identity('late'), server];
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, resources));
  copy = join(ca.dir, 'copy');
  folders = { gateway: folderOf('gateway'), web: folderOf('web') };
  await start('gateway');
  await start('web');
});
afterAll(async () => {
  for (const each of running.values()) await each.stop('SIGKILL');
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

const folderOf = (name: string) => makeAgent(ca, name, { evidence: { unix: {} }, id: idOf(name) });
const start = async (name: 'gateway' | 'web') => void running.set(name, await folders[name].run());
const stop = async (name: 'gateway' | 'web') => running.get(name)?.stop();
const stateFile = (name: 'gateway' | 'web') => join(folders[name].dir, 'data', 'state.json');
const heard = (name: 'gateway' | 'web'): string[] =>
  JSON.parse(readFileSync(stateFile(name), 'utf8')).revocations.list.map(
    ({ value }: { value: string }) => value,
  );
const json = async (...args: string[]) => JSON.parse((await ca.cli(...args, '--json')).stdout);
const revoked = async (): Promise<string[]> =>
  (await json('revocations')).map(({ value }: { value: string }) => value);
const ready = async () => {
  const answer = await fetch(`http://127.0.0.1:${ca.httpPort}/readyz`);
  return [answer.status, await answer.text()] as const;
};

test('what was revoked after the backup comes back by a gateway, before anything is issued', async () => {
  await ca.cli('revoke', idOf('before'), '--reason', 'unspecified');
  await vi.waitFor(() => expect(heard('web')).toEqual([idOf('before')]), PATIENCE);
  const old = readFileSync(stateFile('web'));
  await ca.cli('backup', copy);
  await stop('web');
  // `web` has heard nothing of this one.
  await ca.cli('revoke', idOf('after'), '--reason', 'keyCompromise');
  await vi.waitFor(() => expect(heard('gateway')).toEqual(['before', 'after'].map(idOf)), PATIENCE);
  await stop('gateway');
  await serving.stop('SIGKILL');
  renameSync(join(ca.dir, 'data'), join(ca.dir, 'lost'));
  const restored = await ca.cli('restore', copy);
  expect(restored).toMatchObject({ status: 0, stdout: expect.stringMatching(/it issues nothing until/) });
  serving = await ca.serve();
  expect(serving.log()).toMatch(/issues nothing yet: it waits for what gateways hand back/);
  expect(await ready()).toEqual([503, expect.stringMatching(/hand back: spiffe:.*\/gateway/)]);
  expect(await revoked()).toEqual([idOf('before')]);
  writeFileSync(stateFile('web'), old, { mode: 0o600 });
  await start('web');
  const late = await folderOf('late').cli('issue', '--out', join(ca.dir, 'late-out'));
  expect(late.status).not.toBe(0);
  expect(late.stderr).toMatch(/the CA was restored and issues nothing yet/);
  await start('gateway');
  await vi.waitFor(async () => expect((await ready())[0]).toBe(200), PATIENCE);
  expect(await revoked()).toEqual(['before', 'after'].map(idOf));
  await vi.waitFor(() => expect(heard('web')).toEqual(['before', 'after'].map(idOf)), PATIENCE);
  const { stdout } = await ca.cli('audit', 'query', '--json', '--text', 'ca.handedBack');
  expect(JSON.parse(stdout)).toMatchObject({ made: 1, by: idOf('gateway') });
  expect(await ca.cli('audit', 'query', '--text', 'ca.issuesAgain')).toMatchObject({
    stdout: expect.stringMatching(/every gateway has handed back/),
  });
}, 300_000);

test('where the loss is accepted it issues at once, takes back what agents know, and agents come back', async () => {
  // Its certificate is on record nowhere after the restore, and half of its hour is not waited for.
  await stop('web');
  rmSync(stateFile('web'));
  await start('web');
  await ca.cli('revoke', idOf('later'), '--reason', 'keyCompromise');
  await vi.waitFor(() => expect(heard('web')).toEqual(['before', 'after', 'later'].map(idOf)), PATIENCE);
  await stop('gateway');
  await serving.stop('SIGKILL');
  renameSync(join(ca.dir, 'data'), join(ca.dir, 'lost-again'));
  expect(await ca.cli('restore', copy, '--accept-loss', '--reason', 'a drill')).toMatchObject({ status: 0 });
  serving = await ca.serve();
  expect(await ready()).toEqual([200, expect.any(String)]);
  await vi.waitFor(
    async () => expect(await revoked()).toEqual(['before', 'after', 'later'].map(idOf)),
    PATIENCE,
  );
  expect(heard('web')).toHaveLength(3);
  const back = async () =>
    expect((await json('agents')).map(({ spiffeId }: { spiffeId: string }) => spiffeId)).toContain(
      idOf('web'),
    );
  await vi.waitFor(back, PATIENCE);
}, 300_000);

test('an operator ends the wait', async () => {
  await stop('web');
  await serving.stop('SIGKILL');
  renameSync(join(ca.dir, 'data'), join(ca.dir, 'lost-third'));
  await ca.cli('restore', copy);
  serving = await ca.serve();
  const waits = await ca.cli('accept-loss', '--reason', 'the gateway is gone');
  expect(waits).toMatchObject({ status: 0, stdout: expect.stringMatching(/waits for .*Give --yes/s) });
  expect((await ready())[0]).toBe(503);
  expect(await ca.cli('accept-loss', '--reason', 'the gateway is gone', '--yes')).toMatchObject({
    status: 0,
  });
  expect((await ready())[0]).toBe(200);
  await serving.stop('SIGKILL');
  serving = await ca.serve();
  expect((await ready())[0]).toBe(200);
}, 120_000);
