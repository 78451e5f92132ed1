/** The command lines as people meet them: real processes, their exit status, what they say and what they leave behind. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import {
  AGENT_MAIN,
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  runProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'cli.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };

const folders: string[] = [];
const folder = (): string => {
  const made = makeFolder();
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const each of folders) removeFolder(each);
});

const STACK = /^ +at .*:\d+/m;
function expectRan(ran: Ran, status: number, says: { out?: RegExp; err?: RegExp }): void {
  const { out = /^$/, err = /^$/ } = says;
  expect(ran).toEqual({ status, stdout: expect.stringMatching(out), stderr: expect.stringMatching(err) });
  expect(ran.stderr).not.toMatch(STACK);
}
const written = (path: string, text: string): string => {
  writeFileSync(path, text);
  return path;
};

describe.each([
  ['chancery-ca', CA_MAIN, 'serve'],
  ['chancery-agent', AGENT_MAIN, 'run'],
])('%s', (name, main, command) => {
  test('without a command says what it can do', async () => {
    expectRan(await runProgram(main, []), 0, { out: new RegExp(`^${name}: .*\\n\\nusage: ${name} COMMAND`) });
  });

  test.each([
    ['an unknown command', ['start'], /^unknown command "start"\nsee chancery-\w+ --help\n$/],
    ['what every object inherits', ['toString'], /^unknown command "toString"/],
    ['an unknown flag', [command, '--fast'], /^unknown flag --fast\nsee chancery-\w+ \w+ --help\n$/],
    [
      'a config that is not there',
      [command, '-c', '/none.yaml'],
      /^chancery-\w+: \/none\.yaml: no such file/,
    ],
    [
      'a config that is a folder',
      [command, '-c', '/'],
      /^chancery-\w+: \/: a file is expected, found a folder/,
    ],
  ])('%s is misuse', async (_, argv, err) => {
    expectRan(await runProgram(main, argv), 2, { err });
  });

  test('says every problem of its config at once, with file and line', async () => {
    const config = written(
      join(folder(), 'bad.yaml'),
      `trustDomain: Upper\nnone: 1\nlogLevel: &a loud\nmore: *a\n`,
    );
    const { status, stderr } = await runProgram(main, [command, '-c', config]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/bad\.yaml:4: \*a is an alias/);
    writeFileSync(config, 'trustDomain: Upper\nnone: 1\nlogLevel: loud\n');
    const all = await runProgram(main, [command, '-c', config]);
    for (const line of [
      /bad\.yaml:1: trustDomain: /,
      /bad\.yaml:2: unknown key none/,
      /bad\.yaml:3: logLevel: /,
    ])
      expect(all.stderr).toMatch(line);
    expect(all.stderr).not.toMatch(STACK);
  });

  test('prints a completion script for bash', async () => {
    const { stdout } = await runProgram(main, ['completion']);
    execFileSync('bash', ['-n'], { input: stdout });
    expect(stdout).toMatch(new RegExp(`complete -F \\w+ ${name}\n$`));
  });
});

describe('a CA that serves', () => {
  let ca: CaFolder;
  let serving: Running;
  beforeAll(async () => {
    ca = await makeCa(folder(), TRUST_DOMAIN, { attestors: { unix: {} } });
    serving = await ca.serve();
    await ca.apply([identity]);
  });
  afterAll(() => serving.stop());

  const resources = (...all: readonly object[]): string =>
    written(join(ca.dir, 'some.yaml'), all.map((each) => stringify(each)).join('---\n'));
  const explain = () => ca.cli('explain', '--platform', 'unix', '-a', 'uid=1', '--json');

  test('shows what apply would change, and changes nothing', async () => {
    const renamed = { ...identity, id: `${ID}2` };
    const file = resources(renamed);
    expectRan(await ca.cli('apply', '-f', file, '--dry-run'), 0, {
      out: /^changed Identity\/w\n {3}kind: Identity\n(.*\n)* {2}-id: .*\/w\n {2}\+id: .*\/w2\n(.*\n)*1 change; version 1 stays in force \(dry run\)\n$/,
    });
    expect(JSON.parse((await explain()).stdout)).toMatchObject({ allow: true, spiffeIds: [ID] });
  });

  test('refuses resources with every problem, and changes nothing', async () => {
    const file = resources({ ...identity, platform: 'aws', x509: { ttl: 'soon' } }, { kind: 'Role' });
    const ran = await ca.cli('apply', '-f', file);
    expectRan(ran, 1, {
      err: /^chancery-ca: \/.*some\.yaml:1: "soon" is not .*\n\/.*some\.yaml:3: platform aws .*\n\/.*some\.yaml:8: kind: .*\n$/,
    });
    expect(JSON.parse((await explain()).stdout)).toMatchObject({ spiffeIds: [ID] });
  });

  test.each([
    ['applies nothing without a file', ['apply'], 2, /^-f is required\nsee chancery-ca apply --help\n$/],
    ['asks for -f', ['apply', 'resources'], 2, /^"resources" .*; did you mean -f resources\?\n/],
    [
      'applies no file that is missing',
      ['apply', '-f', '/none'],
      1,
      /^chancery-ca: \/none: no such file or folder$/m,
    ],
    [
      'I71 explains no facts without an end',
      ['explain', '--facts', '/dev/zero'],
      1,
      /^chancery-ca: \/dev\/zero: a regular file is expected, found a device$/m,
    ],
    [
      'lists no certificates without a count',
      ['issued', '-n', '0'],
      2,
      /^--limit is a number from 1 to 1000/,
    ],
    [
      'lists no certificates of what is no SPIFFE ID',
      ['issued', '--id', 'w'],
      1,
      /SPIFFE ID does not start with/,
    ],
    ['prints no bundle of its own format', ['bundle', '--format', 'der'], 2, /^--format is pem or spiffe/],
    ['explains nothing of nothing', ['explain'], 2, /^give one of --facts, --platform/],
    ['explains one thing at a time', ['explain', '--platform', 'unix', '--caller', ID], 2, /^give one of/],
    ['explains no half of a call', ['explain', '--caller', ID, '--tool', 'x'], 2, /^a call needs/],
    [
      'explains no half of an attribute',
      ['explain', '--platform', 'unix', '-a', 'uid'],
      2,
      /expected NAME=VALUE/,
    ],
    [
      'checks no resources that are missing',
      ['check', '-f', '/none.yaml'],
      1,
      /\/none\.yaml: no such file or folder/,
    ],
  ])('%s', async (_, argv, status, err) => {
    expectRan(await ca.cli(...argv), status, { err });
  });

  test('refuses a folder without resources, which would take every name away', async () => {
    mkdirSync(join(ca.dir, 'empty'));
    expectRan(await ca.cli('apply', '-f', join(ca.dir, 'empty')), 1, {
      err: /empty has no .yaml or .yml file; for an empty set give an empty file and --prune-all\n$/,
    });
  });

  test('a no is 1, and says which rule came nearest', async () => {
    expectRan(await ca.cli('explain', '--platform', 'tpm'), 1, {
      out: /^no: no identity; the nearest: w is for platform unix/,
    });
    expectRan(await ca.cli('explain', '--caller', ID, '--server', 's', '--tool', 't'), 1, {
      out: /^no: no server is registered as s\n$/,
    });
  });

  test('explains saved facts by files, without the CA', async () => {
    const config = join(ca.dir, 'offline.yaml');
    written(config, readFileSync(ca.config, 'utf8').replace('dataDir: data', 'dataDir: nowhere'));
    const when = { ...identity, name: 'x', when: "uid == '2'" };
    const file = resources(identity, when, { ...identity, name: 'y', platform: 'unix', when: 'nothing' });
    const explained = (facts: unknown) => {
      const saved = written(join(ca.dir, 'facts.json'), JSON.stringify(facts));
      return runProgram(CA_MAIN, ['explain', '--facts', saved, '-f', file, '--config', config]);
    };
    const line = { level: 'info', msg: 'attested', platform: 'unix', node: 'uid/2' };
    expectRan(await explained({ ...line, attributes: { 'unix.uid': '2' } }), 0, {
      out: /^yes: w gives .*\/w \(the default\)\n {5}x gives .*\n {5}no: y: when \(nothing\) fails: .*\n$/,
    });
    expectRan(await explained({ ...line, attributes: { uid: '3' } }), 0, {
      out: /no: x: when \(uid == '2'\) is false/,
    });
    expectRan(await explained({ ...line, platform: 'tpm', attributes: {} }), 1, {
      out: /^no: no identity; the nearest: w is for platform unix, not tpm\n {5}no: x is for/,
    });
    expectRan(await explained({ platform: 'unix' }), 1, {
      err: /facts\.json: expected JSON such as \{"platform"/,
    });
    const call = ['--caller', ID, '--server', 's', '--tool', 't'];
    expectRan(await runProgram(CA_MAIN, ['explain', ...call, '-f', file, '--config', config]), 1, {
      out: /^no: no server is registered as s\n$/,
    });
    expectRan(await runProgram(CA_MAIN, ['explain', '--facts', '/none', '-f', file, '--config', config]), 1, {
      err: /\/none: no such file or folder/,
    });
  });

  test.each([
    ['apply', ['apply', '-f', 'applied.yaml'], { changes: [], version: 1 }],
    ['agents', ['agents'], []],
    [
      'issued',
      ['issued', '-n', '1'],
      [{ spiffeId: `spiffe://${TRUST_DOMAIN}/chancery/ca`, platform: 'self' }],
    ],
    [
      'check',
      ['check', '-f', 'applied.yaml'],
      { trustDomain: TRUST_DOMAIN, platforms: ['unix'], resources: 1 },
    ],
  ])('prints JSON: %s', async (_, argv, expected) => {
    const { status, stdout } = await ca.cli(
      ...argv.map((each) => each.replace('applied', join(ca.dir, 'applied'))),
      '--json',
    );
    expect({ status, printed: JSON.parse(stdout) }).toMatchObject({ status: 0, printed: expected });
  });

  test('prints tables for people', async () => {
    expectRan(await ca.cli('issued'), 0, {
      out: /^SERIAL +SPIFFE ID +PLATFORM +IDENTITY +NOT BEFORE +NOT AFTER\n40[0-9a-f]{38} +spiffe:/,
    });
    expectRan(await ca.cli('agents'), 0, {
      out: /^SPIFFE ID +ADDRESS +VERSION +CONNECTED +CERTIFICATE UNTIL +NOT ACKNOWLEDGED\n$/,
    });
    expectRan(await ca.cli('check'), 0, {
      out: /ca\.yaml is good: cli\.example, unix\na CA serves with this dataDir: .*, ready; its data was not looked at\n/,
      err: /^warning: the key of root \w+, which stands by, is on this machine .*\n$/,
    });
  });

  test('prints its bundle for every reader', async () => {
    const { stdout } = await ca.cli('bundle');
    expect(execFileSync('openssl', ['x509', '-noout', '-subject'], { input: stdout }).toString()).toMatch(
      /Chancery root/,
    );
    // The root that signs, the one that stands by, and the key of tokens.
    expect(JSON.parse((await ca.cli('bundle', '--format', 'spiffe')).stdout)).toMatchObject({
      keys: [{ use: 'x509-svid' }, { use: 'x509-svid' }, { use: 'jwt-svid' }],
    });
  });

  test('is the only one on its data', async () => {
    expectRan(await ca.cli('serve'), 1, {
      err: /ca\.db: another process holds it: is a chancery-ca already running on this file\?\n$/,
    });
    expect((await explain()).status).toBe(0);
  });

  test('is not made again', async () => {
    const before = readFileSync(join(ca.dir, 'key-encryption-key'));
    const ran = await runProgram(CA_MAIN, ['init', '--trust-domain', TRUST_DOMAIN, '--dir', ca.dir]);
    expectRan(ran, 1, {
      err: /ca\.yaml exists already: a CA is made once; .* init --resume --trust-domain .* --dir \S+\n$/,
    });
    expect(readFileSync(join(ca.dir, 'key-encryption-key'))).toEqual(before);
  });

  test('ends at SIGTERM with 0, and leaves no socket', async () => {
    await serving.stop();
    expect(serving.child.exitCode).toBe(0);
    expect(sockets(ca)).toEqual([]);
    expectRan(await ca.cli('agents'), 1, {
      err: /^chancery-ca: no CA is serving at .*admin\.sock: run chancery-ca serve\n$/,
    });
    serving = await ca.serve();
    await serving.stop('SIGKILL');
    expectRan(await ca.cli('agents'), 1, {
      err: /^chancery-ca: no CA is serving at .*admin\.sock: run chancery-ca serve\n$/,
    });
    serving = await ca.serve();
  });
});

const sockets = ({ dir }: CaFolder): readonly string[] =>
  readdirSync(join(dir, 'data')).filter((name) => name.endsWith('.sock'));

describe('a CA does not serve', () => {
  let ca: CaFolder;
  let blocking: net.Server | undefined;
  beforeAll(async () => {
    ca = await makeCa(folder(), TRUST_DOMAIN, { attestors: { unix: {} } });
  });
  const at = (name: string): string => join(ca.dir, name);
  const block = (port: number) =>
    new Promise<void>((resolve) => {
      blocking = net.createServer().listen(port, '127.0.0.1', resolve);
    });
  const unblock = () => new Promise<void>((resolve) => blocking?.close(() => resolve()));

  test.each<[string, () => Promise<void>, RegExp, () => Promise<void> | void]>([
    [
      'with a key-encryption key that others may read',
      async () => chmodSync(at('key-encryption-key'), 0o644),
      /key-encryption-key is open to others: mode 644; chmod go-rwx \S+\n$/,
      () => chmodSync(at('key-encryption-key'), 0o600),
    ],
    [
      'in a folder that others may write',
      async () => chmodSync(at('data'), 0o777),
      /others may write in \/.*\/data: mode \d+; chmod go-w \/.*\/data\n$/,
      () => chmodSync(at('data'), 0o711),
    ],
    [
      'on a port that is taken',
      () => block(ca.port),
      /cannot listen on 127\.0\.0\.1:\d+: another process has this address/,
      unblock,
    ],
    [
      'with metrics on a port that is taken',
      () => block(ca.httpPort),
      /cannot listen on 127\.0\.0\.1:\d+: another process has this address/,
      unblock,
    ],
    [
      'over a file that is no socket',
      async () => writeFileSync(at('data/join.sock'), ''),
      /join\.sock is in the way and is not a socket\n$/,
      () => rmSync(at('data/join.sock')),
    ],
  ])('%s', async (_, spoil, err, mend) => {
    await spoil();
    expectRan(await ca.cli('serve'), 1, { err });
    await mend();
    expect(sockets(ca)).toEqual([]);
    await (await ca.serve()).stop();
  });

  test('without a root', async () => {
    rmSync(at('data'), { recursive: true });
    expectRan(await ca.cli('serve'), 1, {
      err: /^chancery-ca: there is no root yet: finish it with chancery-ca init --resume, or, .* restore dataDir\n$/,
    });
  });

  test('and check tells all of it at once', async () => {
    chmodSync(at('key-encryption-key'), 0o640);
    const file = written(at('bad.yaml'), `${stringify({ ...identity, platform: 'aws' })}none: 1\n`);
    expectRan(await ca.cli('check', '-f', file), 1, {
      err: /^chancery-ca: \/.*key-encryption-key is open to others: mode 640; chmod go-rwx \S+\n\/.*data is missing: there is no root yet: .*\n\/.*bad\.yaml:5: unknown key none\n$/,
    });
    const tpm = { tpm: { roots: ['none.pem'] } };
    writeFileSync(
      ca.config,
      stringify({
        trustDomain: TRUST_DOMAIN,
        dataDir: 'data',
        keyEncryptionKey: 'key-encryption-key',
        attestors: tpm,
      }),
    );
    expectRan(await ca.cli('check', '-f', file), 1, {
      err: /mode 640; chmod go-rwx \S+\nattestors\.tpm: none\.pem: no such file or folder\n\/.*data is missing: there is no root yet: .*\n\/.*bad\.yaml:5: /,
    });
  });
});

describe('a CA that could not be made', () => {
  const init = (dir: string, ...more: readonly string[]) =>
    runProgram(CA_MAIN, ['init', '--trust-domain', TRUST_DOMAIN, '--dir', dir, ...more]);

  test.each([
    [
      'is asked for without a name',
      ['init'],
      2,
      /^--trust-domain is required, for instance prod\.example\nsee chancery-ca init --help\n$/,
    ],
    [
      'has a name that is none',
      ['init', '--trust-domain', 'Prod', '--dir', '/nowhere/at/all'],
      1,
      /^chancery-ca: trust domain /,
    ],
  ])('%s', async (_, argv, status, err) => {
    expectRan(await runProgram(CA_MAIN, argv), status, { err });
    expect(existsSync('/nowhere')).toBe(false);
  });

  test('leaves nothing of itself, and is made when the cause is gone', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'data'));
    chmodSync(join(dir, 'data'), 0o777);
    expectRan(await init(dir), 1, { err: /others may write in \S+data: mode 777/ });
    expect(readdirSync(dir)).toEqual(['data']);
    chmodSync(join(dir, 'data'), 0o700);
    const { status, stdout } = await init(dir, '--json');
    expect({ status, about: JSON.parse(stdout) }).toMatchObject({
      status: 0,
      about: { trustDomain: TRUST_DOMAIN },
    });
  });

  test('keeps a key and resources that are there', async () => {
    const dir = folder();
    written(join(dir, 'key-encryption-key'), 'mine');
    expectRan(await init(dir), 1, {
      err: /key-encryption-key exists already: .* init --resume --trust-domain \S+ --dir \S+\n$/,
    });
    expect(readdirSync(dir)).toEqual(['key-encryption-key']);
    rmSync(join(dir, 'key-encryption-key'));
    mkdirSync(join(dir, 'resources'));
    written(join(dir, 'resources', 'unix.yaml'), 'mine');
    expect((await init(dir)).status).toBe(0);
    expect(readFileSync(join(dir, 'resources', 'unix.yaml'), 'utf8')).toBe('mine');
  });
});

describe('an agent without a CA', () => {
  let agent: ReturnType<typeof makeAgent>;
  beforeAll(() => {
    const dir = folder();
    const ca = {
      dir,
      port: 1,
      bundle: join(dir, 'bundle.pem'),
      joinSocket: join(dir, 'join.sock'),
      trustDomain: TRUST_DOMAIN,
    };
    agent = makeAgent(ca as CaFolder, 'agent', { evidence: { unix: {} } });
  });

  test.each([
    ['has no bundle', ['run'], 1, /bundle\.pem/],
    ['has no status', ['status'], 1, /agent\.sock/],
    [
      'has no gateway in its config',
      ['gateway'],
      2,
      /agent\.yaml: gateway: server, listen and upstream are expected\n$/,
    ],
    [
      'gets two servers',
      ['connect', 'a', 'b'],
      2,
      /^expected: connect \[NAME\]\nsee chancery-agent connect --help\n$/,
    ],
    [
      'is to listen to everybody',
      ['connect', 'a', '--listen', '0.0.0.0:1'],
      2,
      /^--listen is unix:PATH or 127\.0\.0\.1:PORT/,
    ],
    ['is asked for two entries', ['mcp', 'config', 'a', 'b'], 2, /^expected: mcp config \[NAME\]/],
    [
      'is asked for an unknown client’s entry',
      ['mcp', 'config', 'a', '--client', 'toString'],
      2,
      /^--client is one of claude, claude-code, cursor, vscode/,
    ],
  ])('%s', async (_, argv, status, err) => {
    expectRan(await agent.cli(...argv), status, { err });
  });

  test.each(['claude', 'cursor', 'vscode'])('prints the entry for %s', async (client) => {
    const { status, stdout } = await agent.cli('mcp', 'config', 'github', '--client', client);
    const entry = { args: [AGENT_MAIN, 'connect', 'github', '--config', agent.config] };
    expect({ status, printed: Object.values(JSON.parse(stdout)) }).toMatchObject({
      status: 0,
      printed: [{ github: entry }],
    });
  });
});
