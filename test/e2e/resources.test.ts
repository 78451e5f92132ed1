/** Sets of resources as operators keep them: in folders and links, on standard input, large, empty, and read back. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import {
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  runProgram,
} from '../kit/processes.ts';

const DOMAIN = 'sets.example';
const identity = (name: string) => ({
  kind: 'Identity',
  name,
  platform: 'unix',
  id: `spiffe://${DOMAIN}/${name}`,
});
const textOf = (...names: readonly string[]) => names.map((name) => stringify(identity(name))).join('---\n');

let ca: CaFolder;
let serving: Running;
let set: string;
let made = 0;
beforeAll(async () => {
  ca = await makeCa(makeFolder(), DOMAIN, { attestors: { unix: {} } });
  serving = await ca.serve();
});
afterAll(async () => {
  await serving.stop();
  removeFolder(ca.dir);
});
beforeEach(() => {
  made += 1;
  set = join(ca.dir, `set-${made}`);
  mkdirSync(set);
});

const write = (name: string, text: string): void => writeFileSync(join(set, name), text);
const apply = (...more: readonly string[]) => ca.cli('apply', '-f', set, ...more);
async function inForce(): Promise<readonly string[]> {
  const { stdout } = await ca.cli('get', '--json');
  return JSON.parse(stdout).map(({ name }: { name: string }) => name);
}
function withInput(input: string | Buffer, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CA_MAIN, ...args, '-c', ca.config], {
    input,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('a folder', () => {
  test('is read with its folders and links, each file once, in any spelling of .yaml', async () => {
    mkdirSync(join(set, 'team', 'deep'), { recursive: true });
    mkdirSync(join(ca.dir, 'elsewhere'), { recursive: true });
    write('A.YAML', textOf('a'));
    write('b.Yml', textOf('b'));
    write('team/deep/c.yaml', textOf('c'));
    writeFileSync(join(ca.dir, 'elsewhere', 'd.yaml'), textOf('d'));
    symlinkSync(join(ca.dir, 'elsewhere'), join(set, 'linked'));
    symlinkSync(join(set, 'A.YAML'), join(set, 'again.yaml'));
    symlinkSync('..', join(set, 'team', 'up'));
    expect(await apply('-f', join(set, 'A.YAML'))).toMatchObject({ status: 0, stderr: '' });
    expect(await inForce()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('says what of it was not read', async () => {
    write('a.yaml', textOf('a'));
    for (const name of ['.hidden.yaml', 'README.md', 'b.yaml.bak']) write(name, textOf('b'));
    symlinkSync(join(set, 'gone.yaml'), join(set, 'dangling.yaml'));
    const { status, stderr } = await apply();
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /^not read: \S+\/\.hidden\.yaml, \S+README\.md, \S+b\.yaml\.bak, \S+dangling\.yaml\n$/,
    );
  });
});

describe('standard input', () => {
  test('is a file, and its name in errors', async () => {
    expect(withInput(textOf('x', 'y'), 'apply', '-f', '-')).toMatchObject({ status: 0, stderr: '' });
    expect(await inForce()).toEqual(['x', 'y']);
    expect(withInput(Buffer.from('# caf\xe9\n', 'latin1'), 'apply', '-f', '-')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'chancery-ca: standard input is not UTF-8: see the byte at offset 5; save it as UTF-8\n',
    });
    expect(withInput('kind: Role\n', 'check', '-f', '-')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^chancery-ca: standard input:1: kind: /),
    });
  });

  test('takes what export prints', async () => {
    write('a.yaml', textOf('a', 'b'));
    await apply();
    const { stdout } = await ca.cli('export');
    expect(parseAllDocuments(stdout).map((each) => each.toJS().name)).toEqual(['a', 'b']);
    expect(withInput(stdout, 'apply', '-f', '-').stdout).toMatch(
      /^nothing changes; version \d+ is in force\n$/,
    );
  });
});

describe('get', () => {
  beforeAll(() => ca.apply([identity('a'), { ...identity('b'), when: "uid == '1'" }]));

  test('lists what is in force', async () => {
    expect((await ca.cli('get')).stdout).toMatch(
      /^KIND +NAME +ABOUT\nIdentity +a +spiffe:\/\/sets\.example\/a\nIdentity +b +\S+\n$/,
    );
    expect((await ca.cli('get', 'mcpserver', '--json')).stdout).toBe('[]\n');
  });

  test('prints one as YAML, and says where there is none', async () => {
    expect((await ca.cli('get', 'Identity/b')).stdout).toMatch(
      /^kind: Identity\nname: b\n(.*\n)*when: uid == '1'\n/,
    );
    expect(await ca.cli('get', 'Identity/none')).toMatchObject({
      status: 1,
      stderr: 'chancery-ca: no Identity/none is in force\n',
    });
    expect(await ca.cli('get', 'Role')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(
        /^expected one of Access, Identity, McpServer, or KIND\/NAME; found "Role"\n/,
      ),
    });
  });
});

describe('a set', () => {
  test('that is empty needs a flag', async () => {
    write('a.yaml', textOf('a'));
    await apply();
    write('a.yaml', '# nothing\n');
    expect(await apply()).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/all 1 in force would be removed\. Pass --prune-all if that is meant\n$/),
    });
    expect(await inForce()).toEqual(['a']);
    expect(await apply('--prune-all', '--dry-run')).toMatchObject({ status: 0 });
    expect(await inForce()).toEqual(['a']);
    expect(await apply('--prune-all')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^removed Identity\/a/),
    });
    expect(await inForce()).toEqual([]);
  });

  test('of more than 2 MiB works, in one file or many', async () => {
    const padding = `# ${'é'.repeat(60)}\n`.repeat(24_000);
    const one = `${padding}${textOf('a')}`;
    expect(Buffer.byteLength(one)).toBeGreaterThan(2.5 * 1024 * 1024);
    for (const name of ['a', 'b', 'c']) write(`${name}.yaml`, one.replace(/name: a\n/, `name: ${name}\n`));
    expect(await apply()).toMatchObject({ status: 0, stderr: '' });
    expect(await inForce()).toEqual(['a', 'b', 'c']);
  });

  test('of more than 16 MiB is refused in words', async () => {
    write('a.yaml', `#${' '.repeat(16 * 1024 * 1024)}\n`);
    expect(await apply()).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/a\.yaml: 16777218 bytes, at most 16777216\n$/),
    });
    expect(await runProgram(CA_MAIN, ['check', '-f', set, '-c', ca.config])).toMatchObject({ status: 1 });
  });

  test('with very many problems says the first ones and their number', async () => {
    write('a.yaml', 'kind: Role\n---\n'.repeat(2000));
    const { status, stderr } = await apply();
    expect(status).toBe(1);
    expect(stderr.split('\n').length).toBeLessThan(60);
    expect(stderr).toMatch(/a\.yaml:1: kind: .*\n(.*\n)*and 1950 more problems\n$/);
  });
});

describe('what a change takes from agents', () => {
  const node = `unix/uid/${geteuid?.() ?? -1}`;
  const notes = { kind: 'McpServer', name: 'notes', identity: `spiffe://${DOMAIN}/w`, address: 'host:8443' };
  let agent: Running;
  beforeAll(async () => {
    await ca.saveBundle();
    await ca.apply([identity('w'), notes]);
    agent = await makeAgent(ca, 'agent', { evidence: { unix: {} } }).run();
    await connected();
  });
  afterAll(() => agent.stop());

  const connected = () =>
    vi.waitFor(async () => expect((await ca.cli('agents')).stdout).toContain(`spiffe://${DOMAIN}/w`), 30_000);
  const removed = `1 connected agent loses spiffe://${DOMAIN}/w at the next renewal: Identity/w is removed`;
  const serverless = `1 connected agent of spiffe://${DOMAIN}/w loses McpServer/notes: McpServer/notes is removed`;

  test('is said before it is applied', async () => {
    write('a.yaml', textOf('other'));
    const { status, stderr } = await apply('--dry-run');
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: `warning: ${removed} (${node})\nwarning: ${serverless} (${node})\n`,
    });
  });

  test('is in the JSON of the plan', async () => {
    write('a.yaml', textOf('w'));
    const { stdout, stderr } = await apply('--dry-run', '--json');
    expect(stderr).toContain(serverless);
    expect(JSON.parse(stdout).losses).toEqual([
      {
        spiffeId: `spiffe://${DOMAIN}/w`,
        what: 'server',
        name: 'notes',
        certain: true,
        why: 'McpServer/notes is removed',
        agents: 1,
        connected: 1,
        nodes: [node],
      },
    ]);
  });

  test('is not known of evidence from before a restart, and what nothing gives is lost', async () => {
    await serving.stop();
    serving = await ca.serve();
    await connected();
    write(
      'a.yaml',
      [{ ...identity('w'), when: 'uid != "4000000"' }, notes].map((each) => stringify(each)).join('---\n'),
    );
    expect((await apply('--dry-run')).stderr).toBe(
      `warning: 1 connected agent may lose spiffe://${DOMAIN}/w at the next renewal: Identity/w is changed, ` +
        `and this CA process has not seen the evidence of these agents yet (${node})\n`,
    );
    write('a.yaml', textOf('other'));
    expect((await apply()).stderr).toContain(removed);
  });

  test('warns of an agent that is not connected, too, while its certificate is good', async () => {
    await ca.apply([identity('w'), notes]);
    await agent.stop();
    await vi.waitFor(
      async () => expect((await ca.cli('agents')).stdout).not.toContain(`${DOMAIN}/w`),
      30_000,
    );
    write('a.yaml', textOf('other'));
    const away = (sentence: string): string =>
      sentence.replace('1 connected agent', '1 agent with an unexpired certificate, not connected,');
    expect((await apply('--dry-run')).stderr).toBe(
      `warning: ${away(removed)} (${node})\nwarning: ${away(serverless)} (${node})\n`,
    );
  });
});
