/** A software TPM (swtpm) with a manufacturer's CA of its own, for tests, the demo and the benchmarks. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface SoftwareTpm {
  /** What the agent's config says: `unix:PATH`. */
  readonly device: string;
  /** What tpm2-tools take as TPM2TOOLS_TCTI. */
  readonly tcti: string;
  /** The manufacturer's root and intermediate, PEM, as the CA's config wants them. */
  readonly roots: readonly string[];
  readonly intermediates: readonly string[];
  /** A power cut. The TPM counts a failed authorisation for it, and is locked out after three in a short time. */
  kill(): Promise<void>;
  /** Tells the TPM first, as an operating system does. The device must be free. */
  shutDown(): Promise<void>;
  /** After `kill` or `shutDown`; the TPM counts a reset. */
  start(): Promise<void>;
  reboot(): Promise<void>;
  /** A second TPM from a copy of this one's state: the same keys, a clone. This one must not run. */
  clone(): Promise<SoftwareTpm>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/** Takes about a second: keys and certificates are made anew. The caller stops it. */
export async function makeSoftwareTpm(): Promise<SoftwareTpm> {
  ensureInstalled();
  const dir = await mkdtemp(join(tmpdir(), 'swtpm-'));
  await manufacture(dir);
  const tpm = softwareTpm(dir);
  await tpm.start();
  return tpm;
}

/** A missing program fails the tests that need it: a skipped oracle proves nothing. */
function ensureInstalled(): void {
  for (const program of ['swtpm', 'swtpm_setup', 'swtpm_localca'])
    if (spawnSync(program, ['--version']).error !== undefined)
      throw new Error(`${program} is not installed: apt-get install swtpm swtpm-tools tpm2-tools`);
}

/** The shared /var/lib/swtpm-localca belongs to the first user of the machine, so each TPM has a CA of its own. */
async function manufacture(dir: string): Promise<void> {
  const ca = join(dir, 'ca');
  const localca = {
    statedir: ca,
    signingkey: `${ca}/key.pem`,
    issuercert: `${ca}/intermediate.pem`,
    certserial: `${ca}/serial`,
  };
  const setup = {
    create_certs_tool: spawnSync('which', ['swtpm_localca'], { encoding: 'utf8' }).stdout.trim(),
    create_certs_tool_config: join(dir, 'localca.conf'),
    create_certs_tool_options: join(dir, 'localca.options'),
    active_pcr_banks: 'sha256',
  };
  await mkdir(ca);
  await mkdir(join(dir, 'state'));
  await writeFile(join(dir, 'localca.conf'), lines(localca));
  await writeFile(
    join(dir, 'localca.options'),
    '--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n',
  );
  await writeFile(join(dir, 'setup.conf'), lines(setup));
  const flags = [
    '--tpm2',
    '--createek',
    '--create-ek-cert',
    '--create-platform-cert',
    '--lock-nvram',
    '--overwrite',
  ];
  const paths = [
    '--config',
    join(dir, 'setup.conf'),
    '--tpm-state',
    join(dir, 'state'),
    '--logfile',
    join(dir, 'setup.log'),
  ];
  await run('swtpm_setup', [...flags, ...paths]);
}

const lines = (entries: Record<string, string>): string =>
  Object.entries(entries)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');

function softwareTpm(dir: string): SoftwareTpm {
  const socket = join(dir, 'sock');
  // sockaddr_un; the control channel adds five.
  if (`${socket}.ctrl`.length > 107) throw new Error(`${socket} is too long for a unix socket: set TMPDIR`);
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    child = undefined;
    await ended;
  };
  const start = async (): Promise<void> => {
    child = launch(dir, socket);
    await untilListening(socket, child);
  };
  const shutDown = async (): Promise<void> => {
    await sendShutdown(socket);
    await kill();
  };
  return {
    device: `unix:${socket}`,
    tcti: `swtpm:path=${socket}`,
    roots: [join(dir, 'ca', 'swtpm-localca-rootca-cert.pem')],
    intermediates: [join(dir, 'ca', 'intermediate.pem')],
    kill,
    start,
    shutDown,
    async reboot() {
      await shutDown();
      await start();
    },
    clone: () => cloneOf(dir),
    async stop() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function cloneOf(original: string): Promise<SoftwareTpm> {
  const dir = await mkdtemp(join(tmpdir(), 'swtpm-'));
  await cp(join(original, 'ca'), join(dir, 'ca'), { recursive: true });
  await cp(join(original, 'state'), join(dir, 'state'), { recursive: true });
  await rm(join(dir, 'state', '.lock'), { force: true });
  const tpm = softwareTpm(dir);
  await tpm.start();
  return tpm;
}

/** In the foreground and bound to our life: the kernel kills it with us, however a test run ends. */
function launch(dir: string, socket: string): ChildProcess {
  const channel = (path: string): string => `type=unixio,path=${path},mode=0600`;
  const flags = ['--tpmstate', `dir=${join(dir, 'state')}`, '--flags', 'not-need-init,startup-clear'];
  const channels = ['--server', channel(socket), '--ctrl', channel(`${socket}.ctrl`)];
  const command = ['--pdeathsig', 'KILL', 'swtpm', 'socket', '--tpm2', ...flags, ...channels];
  return spawn('setpriv', command, { stdio: 'ignore' });
}

/** swtpm says nothing when it is ready; it is, once it accepts. */
async function untilListening(socket: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (child.exitCode !== null) throw new Error(`swtpm ended with ${child.exitCode}`);
    if (await accepts(socket)) return;
    await sleep(2);
  }
  throw new Error(`swtpm does not listen on ${socket}`);
}

/** TPM2_Shutdown(TPM_SU_CLEAR). */
async function sendShutdown(socket: string): Promise<void> {
  const client = connect({ path: socket });
  client.write(Buffer.from('80010000000c000001450000', 'hex'));
  const [response] = (await once(client, 'data')) as [Buffer];
  client.destroy();
  const code = response.readUInt32BE(6);
  if (code !== 0) throw new Error(`TPM2_Shutdown failed with 0x${code.toString(16)}`);
}

function accepts(socket: string): Promise<boolean> {
  const probe = connect({ path: socket });
  return new Promise((resolve) => {
    probe.once('connect', () => probe.destroy());
    probe.once('error', () => resolve(false));
    probe.once('close', (failed) => resolve(!failed));
  });
}

/** What tpm2-tools and openssl print; throws with their complaint. One client at a time: nothing else may be open. */
export async function runTool(tpm: SoftwareTpm, command: readonly string[]): Promise<string> {
  const [program = '', ...args] = command;
  const { stdout } = await run(program, args, { env: { ...process.env, TPM2TOOLS_TCTI: tpm.tcti } });
  return stdout;
}
