/** A destructive command that needs two people, with real processes: each signs in from a machine of their own. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
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

let dir: string;
let issuer: PersonIssuer;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  issuer = await startPersonIssuer();
  const roles = [{ claim: ['groups'], values: ['sre'], role: 'operator' }];
  const operators = { issuer: issuer.url, clientId: 'chancery', roles, twoPeople: true };
  ca = await makeCa(dir, 'pairs.example', { attestors: { unix: {} }, operators });
  serving = await ca.serve();
  await ca.saveBundle();
});
afterAll(async () => {
  await serving.stop();
  await issuer.close();
  removeFolder(dir);
});

/** On the machine of this person. */
function as(person: string, ...args: readonly string[]): Promise<Ran> {
  const home = join(dir, person);
  mkdirSync(home, { recursive: true });
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ...rest } = process.env;
  const child = spawn(process.execPath, [CA_MAIN, ...args], {
    cwd: home,
    env: { ...rest, XDG_STATE_HOME: join(home, 'state') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    const [, code] = /enter the code (\S+)\n/.exec(stderr) ?? [];
    if (code !== undefined) issuer.approve(code);
  });
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ status: code ?? 255, stdout, stderr }));
  });
}

async function login(person: string): Promise<void> {
  issuer.person = { groups: ['sre'], sub: person };
  const at = ['--ca', `localhost:${ca.port}`, '--bundle', ca.bundle];
  expect(await as(person, 'login', '--device', ...at)).toMatchObject({ status: 0 });
}

test('I148 rotates once after the other person has countersigned it', async () => {
  await login('ada');
  const rotate = ['rotate', '--intermediate'] as const;
  const asked = await as('ada', ...rotate);
  expect(asked).toMatchObject({ status: 1, stdout: '' });
  expect(asked.stderr).toMatch(
    /rotate needs two people: request 1 waits for another operator until \S+Z; after `chancery-ca countersign 1` by/,
  );
  expect(await as('ada', 'countersign', '1')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('request 1 is your own: another person is needed'),
  });
  await login('bob');
  expect((await as('bob', 'countersign')).stdout).toMatch(
    /\n1 +rotate +makes an intermediate .*, now at stage idle \(.*\) +ada of http/,
  );
  expect(await as('bob', 'countersign', '1', '--dry-run')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /^would countersign request 1: rotate makes an intermediate .*, now at stage idle .*\n/,
    ),
  });
  expect(await as('ada', ...rotate)).toMatchObject({ status: 1 });
  expect(await as('bob', 'countersign', '1')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /^countersigned request 1: rotate makes an intermediate .*, now at stage idle .*\nfor ada of /,
    ),
  });
  // Another form of the command is another use.
  expect(await as('ada', 'rotate')).toMatchObject({ status: 1 });
  expect(await as('ada', ...rotate)).toMatchObject({ status: 0 });
  expect(await as('ada', ...rotate)).toMatchObject({ status: 1 });
  // The admin socket is root's way in.
  expect(await ca.cli(...rotate)).toMatchObject({ status: 0 });
  const entries = (await ca.cli('audit', 'query', '--text', 'countersign.', '--json')).stdout
    .trimEnd()
    .split('\n');
  expect(entries.map((line) => JSON.parse(line)).map(({ type, number }) => `${type} ${number}`)).toEqual([
    'countersign.requested 1',
    'countersign.signed 1',
    'countersign.requested 2',
    'countersign.used 1',
    'countersign.requested 3',
  ]);
});
