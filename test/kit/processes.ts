/** Real chancery-ca and chancery-agent processes in a folder of their own, for the demo, e2e tests and benchmarks. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const CA_MAIN = join(root, 'ca/src/main.ts');
export const AGENT_MAIN = join(root, 'agent/src/main.ts');

/** A folder with a short path: unix sockets have 107 bytes. */
export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'chy-'));
}

export const removeFolder = (path: string): void => rmSync(path, { recursive: true, force: true });

/** Free at the moment of asking; a restarted server keeps its port by asking once. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A process that its new parent has not waited for yet is a zombie, and does not run. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** For what a failed test would leave behind. */
export function killLeft(pids: readonly number[]): void {
  for (const pid of pids.filter(isRunning)) process.kill(pid, 'SIGKILL');
}

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of ours to its end. */
export function runProgram(main: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
      resolve({ status, stdout, stderr });
    });
  });
}

export interface Running {
  readonly child: ChildProcess;
  /** Everything it has logged so far. */
  readonly log: () => string;
  /** Ends it and resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Resolves at the first line of output, which our programs print when they serve. `openFiles` is its limit of them. */
export async function startProgram(
  main: string,
  args: readonly string[],
  env = process.env,
  openFiles?: number,
): Promise<Running> {
  const limited = openFiles === undefined ? [] : ['prlimit', `--nofile=${openFiles}`];
  // Whatever happens to this process, what it started ends with it.
  const command = ['--pdeathsig', 'TERM', ...limited, process.execPath, main, ...args];
  const child = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const logged: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => logged.push(text));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const log = () => logged.join('');
  const line = once(createInterface({ input: child.stdout }), 'line');
  const first = await Promise.race([line, exited.then(() => undefined)]);
  if (first === undefined) throw new Error(`${main} ${args.join(' ')} ended before it served:\n${log()}`);
  return {
    child,
    log,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await exited;
    },
  };
}

export interface CaFolder {
  readonly dir: string;
  readonly config: string;
  readonly port: number;
  readonly httpPort: number;
  readonly bundle: string;
  readonly joinSocket: string;
  readonly trustDomain: string;
  serve(): Promise<Running>;
  cli(...args: readonly string[]): Promise<Ran>;
  /** Applies exactly these resources. */
  apply(resources: readonly object[]): Promise<void>;
  /** Writes the trust domain's authorities to `bundle`; the CA must be serving. */
  saveBundle(): Promise<void>;
}

/** What an agent needs to know of a CA. */
export type CaAddress = Pick<CaFolder, 'dir' | 'port' | 'trustDomain' | 'bundle' | 'joinSocket'>;

/** Makes a CA by its own `init`, which may have more flags, then gives it this test's ports and attestors. */
export async function makeCa(
  dir: string,
  trustDomain: string,
  config: object,
  flags: readonly string[] = [],
): Promise<CaFolder> {
  const made = await runProgram(CA_MAIN, ['init', '--trust-domain', trustDomain, '--dir', dir, ...flags]);
  if (made.status !== 0) throw new Error(made.stderr);
  const [port, httpPort] = [await freePort(), await freePort()];
  const file = join(dir, 'ca.yaml');
  const settings = {
    trustDomain,
    dataDir: 'data',
    keyEncryptionKey: 'key-encryption-key',
    listen: `127.0.0.1:${port}`,
    http: `127.0.0.1:${httpPort}`,
    ...config,
    // Each refusal in full: tests read the reason of each.
    limits: { refusalsInFull: 1000, ...('limits' in config ? (config.limits as object) : {}) },
  };
  writeFileSync(file, stringify(settings));
  const bundle = join(dir, 'bundle.pem');
  const cli = (...args: readonly string[]) => runProgram(CA_MAIN, [...args, '--config', file]);
  const must = async (...args: readonly string[]): Promise<Ran> => {
    const ran = await cli(...args);
    if (ran.status !== 0) throw new Error(`chancery-ca ${args.join(' ')}: ${ran.stderr}`);
    return ran;
  };
  return {
    dir,
    config: file,
    port,
    httpPort,
    bundle,
    trustDomain,
    joinSocket: join(dir, 'data', 'join.sock'),
    serve: () => startProgram(CA_MAIN, ['serve', '--config', file]),
    cli,
    apply: async (resources) => {
      const path = join(dir, 'applied.yaml');
      writeFileSync(path, resources.map((each) => stringify(each)).join('---\n'));
      await must('apply', '--prune-all', '-f', path);
    },
    saveBundle: async () => writeFileSync(bundle, (await must('bundle')).stdout),
  };
}

/** A CA in this folder that serves, with these resources in force, for agents by the `unix` attestor. */
export async function serveUnixCa(
  dir: string,
  trustDomain: string,
  resources: readonly object[],
  config: object = {},
): Promise<{ readonly ca: CaFolder; readonly serving: Running }> {
  const ca = await makeCa(dir, trustDomain, { attestors: { unix: {} }, ...config });
  const serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply(resources);
  return { ca, serving };
}

export interface AgentFolder {
  readonly dir: string;
  readonly config: string;
  readonly socket: string;
  run(command?: 'run' | 'gateway'): Promise<Running>;
  cli(...args: readonly string[]): Promise<Ran>;
}

/** `config` is everything but trust domain, CA and dataDir. */
export function makeAgent(ca: CaAddress, name: string, config: object): AgentFolder {
  const dir = join(ca.dir, name);
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o700);
  const file = join(dir, 'agent.yaml');
  const address = `127.0.0.1:${ca.port}`;
  const settings = {
    trustDomain: ca.trustDomain,
    ca: { address, bundle: ca.bundle, socket: ca.joinSocket },
    dataDir: 'data',
    ...config,
  };
  writeFileSync(file, stringify(settings));
  return {
    dir,
    config: file,
    socket: join(dir, 'data', 'agent.sock'),
    run: (command = 'run') => startProgram(AGENT_MAIN, [command, '--config', file]),
    cli: (...args) => runProgram(AGENT_MAIN, [...args, '--config', file]),
  };
}

/** What `chancery-ca bundle` prints, as agents have it: without the key of the log. */
export const certificatesIn = (text: string): string => text.replace(/^# .*\n/m, '');
