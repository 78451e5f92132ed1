/** `chancery-ca login` judged by Keycloak: real processes, its own login page, an authorisation code with PKCE. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Keycloak, keycloakMissing, startKeycloak } from '../kit/oidc/keycloak.ts';
import {
  CA_MAIN,
  type CaFolder,
  freePort,
  makeCa,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const missing = keycloakMissing();
let dir: string;
let keycloak: Keycloak | undefined;
let ca: CaFolder;
let serving: Running | undefined;
beforeAll(async () => {
  if (missing !== undefined) return;
  dir = makeFolder();
  keycloak = await startKeycloak(dir, await freePort());
  const roles = [{ claim: ['groups'], values: ['sre'], role: 'operator' }];
  const operators = { issuer: keycloak.issuer, clientId: 'chancery', roles };
  ca = await makeCa(dir, 'judged.example', { attestors: { unix: {} }, operators });
  serving = await ca.serve();
  await ca.saveBundle();
}, 450_000);
afterAll(async () => {
  await serving?.stop();
  await keycloak?.stop();
  if (missing === undefined) removeFolder(dir);
});

/** As on another machine; `onText` sees what it says meanwhile. */
function run(args: readonly string[], onText: (text: string) => void = () => {}): Promise<Ran> {
  const away = join(dir, 'away');
  mkdirSync(away, { recursive: true });
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

test('a person of Keycloak signs in, and operates the CA under their own name', async ({ skip }) => {
  skip(missing !== undefined, missing);
  let opened: Promise<string> | undefined;
  const at = ['--ca', `localhost:${ca.port}`, '--bundle', ca.bundle];
  const signed = await run(['login', ...at], (text) => {
    const [, url] = /^(http\S+)\n/m.exec(text) ?? [];
    if (url !== undefined) opened ??= keycloak?.signIn(url);
  });
  await opened;
  expect(signed).toMatchObject({ status: 0, stdout: expect.stringMatching(/ as operator until /) });
  // What needs a fresh sign-in goes by Keycloak's auth_time.
  expect(await run(['rotate', '--intermediate'])).toMatchObject({ status: 0 });
  const { stdout } = await ca.cli('audit', 'query', '--text', 'operator.signedIn', '--json');
  expect(JSON.parse(stdout)).toMatchObject({
    by: expect.stringMatching(/^[0-9a-f-]{36} of http:\S+\/realms\/prod \(called "ada"\)$/),
    role: 'operator',
  });
});
