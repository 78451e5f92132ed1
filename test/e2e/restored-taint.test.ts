/** A CA that was restored from before a taint, without its log: agents that know of the theft tell it, without hands. */
import { cpSync, readFileSync, renameSync } from 'node:fs';
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

const TRUST_DOMAIN = 'theft.example';
const idOf = (name: string) => `spiffe://${TRUST_DOMAIN}/${name}`;
const identity = (name: string) => ({
  ...{ kind: 'Identity', name, platform: 'unix', id: idOf(name), x509: { ttl: '1h' } },
});
const PATIENCE = { timeout: 90_000, interval: 300 };

let dir: string;
let ca: CaFolder;
let serving: Running;
let folder: AgentFolder;
let gateway: Running;
let lives = 0;
beforeAll(async () => {
  dir = makeFolder();
  const server = { kind: 'McpServer', name: 's', identity: idOf('gateway'), address: '127.0.0.1:1' };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity('gateway'), identity('late'), server]));
  folder = folderOf('gateway');
  gateway = await folder.run();
});
afterAll(async () => {
  await gateway.stop('SIGKILL');
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

const folderOf = (name: string) => makeAgent(ca, name, { evidence: { unix: {} }, id: idOf(name) });
const state = () => JSON.parse(readFileSync(join(folder.dir, 'data', 'state.json'), 'utf8'));
const stolenKeys = (): readonly string[] =>
  state().revocations.list.flatMap((each: { kind: string; value: string }) =>
    each.kind === 'authority' ? [each.value] : [],
  );
const kids = (): readonly string[] =>
  (state().bundle.jwtAuthorities ?? []).map(({ keyId }: { keyId: string }) => keyId);
const ready = async () => {
  const answer = await fetch(`http://127.0.0.1:${ca.httpPort}/readyz`);
  return [answer.status, await answer.text()] as const;
};

interface Listed {
  readonly serial: string;
  readonly kind: string;
  readonly state: string;
}
const listed = async (): Promise<readonly Listed[]> =>
  JSON.parse((await ca.cli('authorities', '--json')).stdout).authorities;
async function signs(kind: string): Promise<string> {
  const found = (await listed()).find((each) => each.kind === kind && each.state === 'active');
  if (found === undefined) throw new Error(`no ${kind} signs`);
  return found.serial;
}
const stateOf = async (serial: string) => (await listed()).find((each) => each.serial === serial)?.state;
const taint = (serial: string) => ca.cli('taint', serial, '--reason', 'stolen', '--yes');

/** A backup, then a taint that the gateway hears of, then another life from the backup. */
async function forgetTaint(serial: string): Promise<void> {
  const copy = join(ca.dir, `copy-${lives}`);
  expect(await ca.cli('backup', copy)).toMatchObject({ status: 0 });
  // A backup has no keys of roots that stand by, and the taint moves them.
  const standby = join(ca.dir, `standby-${lives}`);
  cpSync(join(ca.dir, 'data', 'standby'), standby, { recursive: true });
  const known = stolenKeys().length;
  expect(await taint(serial)).toMatchObject({ status: 0, stderr: '' });
  await vi.waitFor(() => expect(stolenKeys()).toHaveLength(known + 1), PATIENCE);
  await serving.stop('SIGKILL');
  renameSync(join(ca.dir, 'data'), join(ca.dir, `lost-${lives}`));
  lives += 1;
  expect(await ca.cli('restore', copy)).toMatchObject({ status: 0 });
  cpSync(standby, join(ca.dir, 'data', 'standby'), { recursive: true });
  serving = await ca.serve();
}

test('the intermediate that signs: the gateway tells the CA, which makes another one and issues again', async () => {
  const stolen = await signs('intermediate');
  await forgetTaint(stolen);
  await vi.waitFor(async () => expect(await ready()).toEqual([200, expect.any(String)]), PATIENCE);
  expect(await stateOf(stolen)).toBe('tainted');
  expect(await signs('intermediate')).not.toBe(stolen);
  expect(serving.log()).toMatch(/authorities were tainted after the backup: they are taken away/);
  const told = await ca.cli('audit', 'query', '--json', '--text', 'authority.tainted');
  expect(told.stdout).toMatch(/handed back after a restore/);
  expect(await folderOf('late').cli('issue', '--out', join(ca.dir, 'late-out'))).toMatchObject({ status: 0 });
  const before = state().revocations.sequence;
  expect(await ca.cli('revoke', idOf('other'), '--reason', 'unspecified')).toMatchObject({ status: 0 });
  await vi.waitFor(() => expect(state().revocations.sequence).not.toBe(before), PATIENCE);
}, 240_000);

test('a JWT key: it is in no bundle from then on', async () => {
  const stolen = await signs('jwt');
  await forgetTaint(stolen);
  await vi.waitFor(async () => expect(await ready()).toEqual([200, expect.any(String)]), PATIENCE);
  // Of a JWT key that is over nothing is shown.
  expect(await stateOf(stolen)).toBeUndefined();
  const next = await signs('jwt');
  await vi.waitFor(() => expect(kids()).toContain(next), PATIENCE);
  expect(kids()).not.toContain(stolen);
}, 240_000);

test('the root that signs: nothing is issued, also by accept-loss, until it is tainted again', async () => {
  const stolen = await signs('root');
  await forgetTaint(stolen);
  const says = `root ${stolen}, which signs, was tainted after the backup`;
  await vi.waitFor(async () => expect(await ready()).toEqual([503, expect.stringContaining(says)]), PATIENCE);
  expect(serving.log()).toContain(says);
  const loss = await ca.cli('accept-loss', '--reason', 'a drill', '--yes');
  expect(loss.status).not.toBe(0);
  expect(loss.stderr).toContain(`chancery-ca taint ${stolen}`);
  const late = await folderOf('late').cli('issue', '--out', join(ca.dir, 'late-out-2'));
  expect(late.status).not.toBe(0);
  expect(await taint(stolen)).toMatchObject({ status: 0, stderr: '' });
  await vi.waitFor(async () => expect(await ready()).toEqual([200, expect.any(String)]), PATIENCE);
  expect(await signs('root')).not.toBe(stolen);
}, 240_000);
