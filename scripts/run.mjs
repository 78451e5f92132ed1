#!/usr/bin/env node
/**
 * The one door for developers and newcomers: sets up what a command needs, then runs it on the pinned Node.
 * It must itself run on whatever Node the machine has (20 or newer) with nothing installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');
const node = join(bin, 'node');
const PNPM = 'pnpm@12.21.0';
/** What the tests and the demo drive, by the command that shows it is there. */
const ORACLES = { swtpm: 'swtpm', swtpm_setup: 'swtpm-tools', tpm2_quote: 'tpm2-tools', openssl: 'openssl' };
/** What they load, by the name of its file below /usr/lib. */
const MODULES = { 'libtss2-tcti-swtpm.so*': 'libtss2-tcti-swtpm0', 'tpm2.so': 'tpm2-openssl' };

const [command = '', ...args] = process.argv.slice(2);
const commands = {
  demo: () => [system(ORACLES, 'wanted'), run('test/demo/main.ts', args)],
  test: () => [system(ORACLES, 'needed'), tokens(), clocks(), tool('vitest', ['run', ...args])],
  check: () => check(),
  'test-busy': () => [system(ORACLES, 'needed'), keepBusy(), tool('vitest', ['run', ...args])],
  bench: () => [system(ORACLES, 'needed'), runBound('test/bench/main.ts', args)],
  mutate: () => [system(ORACLES, 'needed'), run('test/mutate/main.ts', args)],
  fuzz: () => run('test/fuzz/main.ts', args),
  generate: () => generate(),
  pkcs11: () => compilePkcs11('needed'),
  format: () => tool('biome', ['check', '--write', '.']),
  ca: () => run('ca/src/main.ts', args),
  agent: () => run('agent/src/main.ts', args),
};

if (!Object.hasOwn(commands, command)) {
  console.error(`usage: node scripts/run.mjs ${Object.keys(commands).join(' | ')} [arguments]`);
  process.exit(2);
}
setUp();
commands[command]();

/** Installs the packages when the lockfile or the workspace has changed since the last time. */
function setUp() {
  const inputs = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json'].map((file) =>
    readFileSync(join(root, file)),
  );
  const want = createHash('sha256').update(Buffer.concat(inputs)).digest('hex');
  const stamp = join(root, 'node_modules', '.set-up');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== want) {
    console.error('setting up: npm packages (about 20 s the first time)');
    must('npx', ['--yes', PNPM, 'install', '--frozen-lockfile', '--reporter=append-only'], { quiet: true });
    mkdirSync(dirname(stamp), { recursive: true });
    writeFileSync(stamp, want);
  }
  // Node 26's binary needs libatomic.so.1, which a minimal Debian does not have.
  if (spawnSync(node, ['--version']).status !== 0) system({ '': 'libatomic1' }, 'needed');
}

/** Installs Debian packages where this is root on Debian; else says in one line what to install. */
function system(wanted, how) {
  const missing = Object.entries(wanted).flatMap(([program, name]) => (onPath(program) ? [] : [name]));
  if (wanted === ORACLES)
    for (const [file, name] of Object.entries(MODULES)) if (!hasModule(file)) missing.push(name);
  if (missing.length === 0) return;
  if (process.getuid?.() === 0 && onPath('apt-get')) {
    console.error(`setting up: ${missing.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const quiet = { quiet: true, env, soft: how === 'wanted' };
    must('apt-get', ['update', '-qq'], quiet);
    must('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], quiet);
    return;
  }
  if (how === 'wanted') return;
  console.error(`please install these system packages (Debian's names): ${missing.join(' ')}`);
  process.exit(1);
}

function hasModule(file) {
  const found = spawnSync('find', ['/usr/lib', '-name', file], { encoding: 'utf8' });
  return found.status === 0 && found.stdout.trim() !== '';
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return program !== '';
    } catch {
      return false;
    }
  });
}

function check() {
  tool('biome', ['check', '--error-on-warnings', '.']);
  tool('tsc', ['-p', '.']);
  tool('vitest', ['run', 'test/house']);
}

/** Loops beside the tests that leave them less than half of each core, until this process ends. */
function keepBusy() {
  const loop = ['--pdeathsig', 'KILL', 'nice', '-n', '5', 'sh', '-c', 'while :; do :; done'];
  const loops = cpus().flatMap(() =>
    Array.from({ length: 4 }, () => spawn('setpriv', loop, { stdio: 'ignore' })),
  );
  // They must not keep this process when the tests have passed.
  for (const each of loops) each.unref();
  process.on('exit', () => {
    for (const each of loops) each.kill('SIGKILL');
  });
}

function generate() {
  must(join(bin, 'buf'), ['lint'], { cwd: join(root, 'proto') });
  must(join(bin, 'buf'), ['generate'], { cwd: join(root, 'proto') });
  if (existsSync(join(root, 'test/house/print-docs.ts'))) run('test/house/print-docs.ts', []);
}

/** Without it, tests that move the clock of programs are left out, with a line that says so. */
function clocks() {
  if (!hasModule('libfaketime.so.1')) system({ '': 'faketime' }, 'wanted');
}

/** Tests with a token are left out, with a line that says so, where one of these is missing. */
function tokens() {
  system({ 'softhsm2-util': 'softhsm2', 'pkcs11-tool': 'opensc' }, 'wanted');
  compilePkcs11('wanted');
}

/** The native half of pkcs11js, for CAs with keys in a token; an install needs no compiler. */
function compilePkcs11(how) {
  const folder = join(root, 'ca/node_modules/pkcs11js');
  const module = join(folder, 'build/Release/pkcs11.node');
  if (existsSync(module)) return;
  if (!onPath('c++')) system({ 'c++': 'g++' }, how);
  const headers = join(root, 'node_modules/node-api-headers/include');
  const sources = ['dl', 'common', 'main'].map((name) => join(folder, 'src', `${name}.cpp`));
  const about = ['-DNAPI_DISABLE_CPP_EXCEPTIONS', '-DNODE_GYP_MODULE_NAME=pkcs11', `-I${headers}`];
  mkdirSync(dirname(module), { recursive: true });
  // Under another name first: a test must not load half of it.
  const partial = `${module}.${process.pid}`;
  const flags = ['-shared', '-fPIC', '-O2', '-std=c++17', '-ldl', ...about, `-I${join(folder, 'includes')}`];
  must('c++', [...sources, ...flags, '-o', partial], { soft: how === 'wanted' });
  if (existsSync(partial)) renameSync(partial, module);
}

function tool(name, rest) {
  must(join(bin, name), rest, {});
}

/** The cache saves a start the stripping of types: 100 ms and 20 MB. A release is JavaScript already. */
function run(file, rest, [program, ...before] = [node]) {
  const env = { ...process.env, NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node') };
  must(program, [...before, '--disable-sigusr1', join(root, file), ...rest], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
    env,
  });
}

/** What runs for minutes and starts others ends with this process, however that ends. */
function runBound(file, rest) {
  run(file, rest, ['setpriv', '--pdeathsig', 'TERM', node]);
}

/** Runs to the end with the pinned Node first on the path; passes a failure on as this process's own exit status. */
function must(program, rest, { cwd = root, quiet = false, soft = false, env = process.env }) {
  const path = `${bin}${delimiter}${process.env.PATH ?? ''}`;
  const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit';
  // A child in the same terminal gets Ctrl-C itself; this process waits for it to end and reports how it did.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  const done = spawnSync(program, rest, { cwd, stdio, env: { ...env, PATH: path }, encoding: 'utf8' });
  process.off('SIGINT', ignore);
  if (done.status === 0 || soft) return;
  if (quiet) console.error(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  if (done.error) console.error(`${program}: ${done.error.message}`);
  process.exit(done.status ?? 1);
}
