/** People sign in and operate a CA from another machine: real processes, and a strict stand-in of an issuer. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type PersonIssuer, startPersonIssuer } from '../kit/oidc/person-issuer.ts';
import {
  CA_MAIN,
  type CaFolder,
  makeCa,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'people.example';
const WEB = `spiffe://${TRUST_DOMAIN}/web`;

let dir: string;
let away: string;
let issuer: PersonIssuer;
let ca: CaFolder;
let serving: Running;

beforeAll(async () => {
  dir = makeFolder();
  away = join(dir, 'away');
  mkdirSync(away);
  issuer = await startPersonIssuer();
  const roles = [
    { claim: ['groups'], values: ['sre'], role: 'operator' },
    { claim: ['groups'], values: ['audit'], role: 'reader' },
    { claim: ['groups'], values: ['pay'], role: 'owner', servers: ['payments'] },
  ];
  const operators = { issuer: issuer.url, clientId: 'chancery', roles };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {} }, operators });
  serving = await ca.serve();
  await ca.saveBundle();
  const server = (name: string) => ({
    kind: 'McpServer',
    name,
    identity: `spiffe://${TRUST_DOMAIN}/${name}`,
    address: 'localhost:9443',
  });
  await ca.apply([server('payments'), server('other')]);
});
afterAll(async () => {
  await serving.stop();
  await issuer.close();
  removeFolder(dir);
});

/** As on another machine: without a config, and with a home of one's own. `onText` sees what it says meanwhile. */
function run(args: readonly string[], onText: (text: string) => void = () => {}): Promise<Ran> {
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ...rest } = process.env;
  const env = { ...rest, XDG_STATE_HOME: join(away, 'state') };
  const child = spawn(process.execPath, [CA_MAIN, ...args], {
    cwd: away,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onText(stderr);
  });
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ status: code ?? 255, stdout, stderr }));
  });
}

/** A person with a browser: opens the address that the command prints. */
async function login(claims: object, ...flags: readonly string[]): Promise<Ran> {
  issuer.person = { ...claims };
  let opened: Promise<unknown> | undefined;
  const at = ['--ca', `localhost:${ca.port}`, '--bundle', ca.bundle];
  const ran = await run(['login', ...at, ...flags], (text) => {
    const [, url] = /^(http\S+)\n/m.exec(text) ?? [];
    if (url !== undefined) opened ??= fetch(url).then((answer) => answer.text());
    const [, code] = /enter the code (\S+)\n/.exec(text) ?? [];
    if (code !== undefined) issuer.approve(code);
  });
  await opened;
  return ran;
}

const ago = (seconds: number) => Math.floor(Date.now() / 1000) - seconds;
const sre = { groups: ['sre'] };

test('a first sign-in by browser, then commands without a config on that machine', async () => {
  const signed = await login(sre);
  expect(signed).toMatchObject({ status: 0 });
  expect(signed.stdout).toMatch(
    /^signed in at localhost:\d+ as operator until .*\nspiffe:\/\/people\.example\/chancery\/operator\/\w+\nyou are ada of http\S+ \(called "ada\.l"\)\n$/,
  );
  const state = join(away, 'state/chancery/operator');
  for (const file of readdirSync(state)) expect(statSync(join(state, file)).mode & 0o777).toBe(0o600);
  const revoked = await run(['revoke', WEB, '--reason', 'keyCompromise']);
  expect(revoked).toMatchObject({ status: 0 });
  expect((await run(['revocations'])).stdout).toContain(`ada of ${issuer.url} (called "ada.l")`);
  // The admin socket needs no sign-in, and has a name of its own.
  const listed = await ca.cli('audit', 'query', '--json');
  expect(listed.stdout).toContain('operator.signedIn');
  expect(listed.stdout).toContain('by the admin socket');
  expect(await run(['unrevoke', '1'])).toMatchObject({ status: 0 });
});

test('a device code, where there is no browser', async () => {
  const signed = await login(sre, '--device');
  expect(signed).toMatchObject({ status: 0 });
  expect((await run(['issued', '--json'])).stdout).toContain('/chancery/operator/');
});

describe('roles', () => {
  test('I150 a reader looks, and changes nothing', async () => {
    await login({ groups: ['audit'], sub: 'grace' });
    expect(await run(['revocations'])).toMatchObject({ status: 0 });
    const refused = await run(['revoke', WEB, '--reason', 'keyCompromise']);
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toMatch(/grace of .* has the role reader, and revoke needs operator/);
  });

  test('an owner sees their servers and no other', async () => {
    await login({ groups: ['pay'], sub: 'kay' });
    const { stdout } = await run(['get']);
    expect(stdout).toContain('payments');
    expect(stdout).not.toContain('other');
    expect(await run(['agents'])).toMatchObject({ status: 1 });
    const file = join(away, 'payments.yaml');
    const server = { kind: 'McpServer', name: 'payments', identity: `spiffe://${TRUST_DOMAIN}/payments` };
    writeFileSync(file, stringify({ ...server, address: 'localhost:9444' }));
    expect(await run(['apply', '-f', file])).toMatchObject({ status: 0 });
    writeFileSync(file, stringify({ ...server, name: 'other', address: 'localhost:9444' }));
    const refused = await run(['apply', '-f', file]);
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('McpServer/other is defined at'),
    });
    expect((await ca.cli('get')).stdout).toMatch(/other[\s\S]*payments/);
  });

  test('a person without a rule gets no certificate', async () => {
    const refused = await login({ groups: ['guests'], sub: 'mallory' });
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toMatch(/the CA refused: the caller may not do this \(reference/);
  });
});

test('a review lists what is due, and a sign-off is on record under the name of the person', async () => {
  await login(sre);
  const listed = JSON.parse((await run(['review', '--all', '--json'])).stdout);
  expect(listed.map(({ name, why }: { name: string; why: string[] }) => [name, why])).toEqual([
    ['other', []],
    ['payments', []],
  ]);
  expect((await run(['review'])).stdout).toBe('no resource needs a review\n');
  expect(await run(['review', 'sign-off', 'McpServer/payments'])).toMatchObject({ status: 2 });
  const signed = await run(['review', 'sign-off', 'McpServer/payments', '--reason', 'still ours']);
  expect(signed).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^signed off McpServer\/payments as it is/),
  });
  const entries = await run(['audit', 'query', '--text', 'review.signedOff', '--json']);
  expect(JSON.parse(entries.stdout)).toMatchObject({
    name: 'payments',
    reason: 'still ours',
    by: expect.stringMatching(/^ada of/),
  });
});

test('I151 what is destructive needs a sign-in of the last 5 minutes, and says how to get one', async () => {
  await login({ ...sre, auth_time: ago(400) });
  expect(await run(['revoke', WEB, '--reason', 'keyCompromise'])).toMatchObject({ status: 0 });
  const refused = await run(['rotate', '--intermediate']);
  expect(refused).toMatchObject({ status: 1 });
  expect(refused.stderr).toMatch(/needs a sign-in of the last 5 minutes: chancery-ca login --again/);
  expect(await login(sre, '--again')).toMatchObject({ status: 0 });
  expect(issuer.served.received.some(({ target }) => /prompt=login/.test(target))).toBe(true);
  expect(await run(['rotate', '--intermediate'])).toMatchObject({ status: 0 });
});

test('I153 who leaves is cut off at once, and does not come back', async () => {
  const signed = await login({ ...sre, sub: 'leaver' });
  const [id = ''] = /spiffe:\S+/.exec(signed.stdout) ?? [];
  expect(await run(['agents'])).toMatchObject({ status: 0 });
  expect(await ca.cli('revoke', id, '--reason', 'privilegeWithdrawn')).toMatchObject({ status: 0 });
  const refused = await run(['agents']);
  expect(refused).toMatchObject({ status: 1 });
  expect(refused.stderr).toMatch(/revocation \d/);
  expect(await login({ ...sre, sub: 'leaver' })).toMatchObject({ status: 1 });
});
