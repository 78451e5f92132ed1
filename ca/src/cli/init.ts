/** `init`: a config, a key-encryption key, a root, and a folder for resources. Refuses to touch what is there. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { createKek } from '@chancery/shared/keys/kek.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { parseTrustDomain, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { type AuthorityDeps, certifyStandby, createRoot } from '../authority/certify.ts';
import { ensureRootOf, findRoot, rootOf } from '../authority/records.ts';
import { vouch } from '../authority/vouch.ts';
import { readCarried } from '../ceremony/folder.ts';
import { type RootFile, readRoot } from '../ceremony/root.ts';
import { type CaSettings, parseCaConfig, paths, readCaConfig } from '../config.ts';
import { ensureJwtKey } from '../jwt/keys.ts';
import { isOffline } from '../keys/offline.ts';
import { adoptRoot } from '../offline/adopt.ts';
import { withKeys } from '../open-keys.ts';
import { logKeyOf } from '../open-log.ts';
import { openStore, type ServeDeps } from '../serve.ts';
import { openSqlite } from '../store/sqlite/sqlite.ts';
import type { AuthorityRecord, Store } from '../store/store.ts';
import { printJson } from './flags.ts';

interface InitDeps extends ServeDeps {
  /** The root of --root. */
  readonly offline: RootFile | undefined;
}

const firstRoot = ({ offline, ...deps }: InitDeps & AuthorityDeps): Promise<AuthorityRecord> =>
  offline === undefined ? createRoot(deps) : adoptRoot(offline, deps);

/** With --resume it completes an earlier run; without, it refuses to touch existing files. */
export const init = (deps: ServeDeps): Command => ({
  says: 'Makes a new CA in a folder: config, key-encryption key, root, an example of resources.',
  flags: {
    'trust-domain': {
      type: 'string',
      value: 'NAME',
      says: 'The trust domain that the CA speaks for; required without --root.',
    },
    dir: {
      type: 'string',
      short: 'd',
      value: 'DIR',
      says: 'The folder, made if missing (default: the current one).',
    },
    root: {
      type: 'string',
      value: 'FILE',
      says: 'The certificate of an offline root (chancery-ca ceremony export), instead of a root made here.',
    },
    resume: { type: 'boolean', says: 'Finish an init that was interrupted; keeps what is there.' },
    'dry-run': { type: 'boolean', says: 'Only say which files it would make.' },
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const dir = resolve(invocation.text('dir') ?? '.');
    const file = join(dir, 'ca.yaml');
    const resume = invocation.has('resume');
    const path = invocation.text('root');
    const offline = path === undefined ? undefined : readRoot(readCarried(path));
    const name = invocation.text('trust-domain') ?? offline?.trustDomain;
    const trustDomain = trustDomainOf(name, resume ? file : undefined);
    if (!resume) ensureNothingThere(file, trustDomain);
    if (invocation.has('dry-run')) return wouldMake(invocation, io, { file, trustDomain });
    const root = await (resume ? resumeCa : makeCa)(file, trustDomain, { ...deps, offline });
    const standbyKey = paths(readCaConfig(file).dataDir).standbyKeys;
    const rootNotAfter = root.notAfter.toISOString();
    const about = { config: file, trustDomain, root: root.serial, rootNotAfter, standbyKey };
    if (invocation.has('json')) printJson(io, about);
    else io.out(nextSteps({ ...about, isElsewhere: isOffline(root) }));
    return 0;
  },
});

/** Prints what is not there yet. Changes nothing. */
function wouldMake(
  invocation: Invocation,
  io: Io,
  { file, trustDomain }: { readonly file: string; readonly trustDomain: TrustDomain },
): ExitStatus {
  const settings = existsSync(file) ? readCaConfig(file) : parseCaConfig(exampleConfig(trustDomain), file);
  const at = paths(settings.dataDir);
  const all = [file, settings.keyEncryptionKey, at.database, at.logKey, at.standbyKeys, exampleFile(file)];
  const makes = all.filter((path) => !existsSync(path));
  if (invocation.has('json')) printJson(io, { config: file, trustDomain, makes });
  else
    io.out(
      `would make a CA for ${trustDomain}, with\n${makes.map((path) => `  ${path}\n`).join('')}` +
        'nothing was made (dry run)\n',
    );
  return 0;
}

const exampleFile = (config: string): string => join(dirname(config), 'resources', 'unix.yaml');

/** From the flag, or from the config if there is one. Throws config. */
function trustDomainOf(name: string | undefined, file: string | undefined): TrustDomain {
  const written = file !== undefined && existsSync(file) ? readCaConfig(file).trustDomain : undefined;
  if (name === undefined) {
    if (written === undefined) throw new MisuseError('--trust-domain is required, for instance prod.example');
    return written;
  }
  const trustDomain = parseTrustDomain(name);
  const same = written === undefined || written === trustDomain;
  ensure(same, 'config', `${file} has trustDomain ${written}, --trust-domain is ${trustDomain}`);
  return trustDomain;
}

/** Throws file with what to do next. */
function ensureNothingThere(file: string, trustDomain: TrustDomain): void {
  const { keyEncryptionKey } = parseCaConfig(exampleConfig(trustDomain), file);
  for (const each of [file, keyEncryptionKey]) {
    const advice = `if that init was interrupted, finish it: ${resumeCommand(file, trustDomain)}`;
    ensure(!existsSync(each), 'file', `${each} exists already: a CA is made once; ${advice}`);
  }
}

const resumeCommand = (file: string, trustDomain: string): string =>
  `chancery-ca init --resume --trust-domain ${trustDomain} --dir ${dirname(file)}`;

/** Makes what is missing, in the order of `makeCa`, and keeps everything that exists. */
async function resumeCa(file: string, trustDomain: TrustDomain, deps: InitDeps) {
  const config = exampleConfig(trustDomain);
  const settings = existsSync(file) ? readCaConfig(file) : parseCaConfig(config, file);
  makeFolder(dirname(file), 0o755);
  const store = await openStore(settings, deps.clock, openSqlite);
  try {
    const root = findRoot(await store.authorities());
    if (!existsSync(settings.keyEncryptionKey)) {
      const lost = `${settings.keyEncryptionKey} is missing, and the root's key is encrypted under it: restore it`;
      ensure(root === undefined, 'file', lost);
      createKek(settings.keyEncryptionKey, settings.passphrase);
    }
    const made = await withKeys(settings, async (keys) => {
      if (root === undefined) return firstRoot({ ...deps, ...settings, keys, store });
      ensureRootOf(root, trustDomain);
      if (!isOffline(root)) await keys.root.load(root.key);
      return root;
    });
    await withKeys(settings, (keys) => completeKeys({ ...deps, ...settings, keys, store }));
    await logKeyOf(settings, store);
    writeExample(join(dirname(file), 'resources'), trustDomain);
    if (!existsSync(file)) writeFileAtomic(file, utf8(config), 0o644);
    return made;
  } finally {
    await store.close();
  }
}

/**
 * Holds the lock of the database all the time: of two at once one makes the CA, and the other touches nothing. The
 * config is written last: if it exists, the CA is complete.
 */
async function makeCa(file: string, trustDomain: TrustDomain, deps: InitDeps) {
  const config = exampleConfig(trustDomain);
  const settings = parseCaConfig(config, file);
  makeFolder(dirname(file), 0o755);
  const store = await openStore(settings, deps.clock, openSqlite);
  try {
    ensureNothingThere(file, trustDomain);
    const root = await makeRoot(settings, { ...deps, store });
    await withKeys(settings, (keys) => completeKeys({ ...deps, ...settings, keys, store }));
    await logKeyOf(settings, store);
    writeExample(join(dirname(file), 'resources'), trustDomain);
    writeFileAtomic(file, utf8(config), 0o644);
    return root;
  } finally {
    await store.close();
  }
}

async function makeRoot(settings: CaSettings, deps: InitDeps & { readonly store: Store }) {
  const { keyEncryptionKey } = settings;
  const known = (await deps.store.authorities()).length;
  createKek(keyEncryptionKey);
  try {
    return await withKeys(settings, (keys) => firstRoot({ ...deps, ...settings, keys }));
  } catch (error) {
    const now = await deps.store.authorities().catch(() => undefined);
    // Nothing is encrypted under it, and another attempt needs its path.
    if (now?.length === known) rmSync(keyEncryptionKey);
    throw error;
  }
}

/** What is in the first bundle beside the root. */
async function completeKeys(deps: AuthorityDeps & { readonly store: Store }): Promise<void> {
  await standBy(deps);
  await ensureJwtKey(deps);
}

/** Into the first bundle that anybody gets: it is there on the night in which the other one is stolen. */
async function standBy(deps: AuthorityDeps & { readonly store: Store }): Promise<void> {
  const records = await deps.store.authorities();
  const active = rootOf(records);
  // An offline root vouches by a ceremony. Nobody needs its word before anybody has a bundle, and everybody after that.
  const isFirst = (await deps.store.issued({ limit: 1 })).length === 0;
  if (isOffline(active) && !isFirst) return;
  const root = records.find(({ standby }) => standby) ?? (await certifyStandby(deps));
  if (root.state !== 'prepared') return;
  const moves = [{ serial: root.serial, from: 'prepared', to: 'published' }] as const;
  const voucher = isOffline(active) ? {} : { voucher: await vouch(active, root, deps) };
  await deps.store.moveAuthorities(moves, { type: 'authority.moved', moves, ...voucher });
}

function writeExample(folder: string, trustDomain: string): void {
  const file = join(folder, 'unix.yaml');
  if (existsSync(file)) return;
  makeFolder(folder, 0o755);
  writeFileAtomic(file, utf8(exampleResources(trustDomain)), 0o644);
}

const exampleConfig = (trustDomain: string): string => `# See docs/config.md for every key.
trustDomain: ${trustDomain}
dataDir: data
keyEncryptionKey: key-encryption-key   # keep a copy elsewhere: without it the authorities' keys are lost
listen: 127.0.0.1:8443
attestors:
  unix: {}                             # workloads on this machine, by peer credentials
`;

const exampleResources = (
  trustDomain: string,
): string => `# Every workload that runs here gets a name by its user.
kind: Identity
name: local-users
platform: unix
id: spiffe://${trustDomain}/local/uid/{uid}
`;

interface Made {
  readonly config: string;
  readonly root: string;
  readonly rootNotAfter: string;
  readonly standbyKey: string;
  /** Whether the root is offline. */
  readonly isElsewhere: boolean;
}

function nextSteps({ config, root, rootNotAfter, standbyKey, isElsewhere }: Made): string {
  const move = `move ${standbyKey} to a safe place offline: its root stands by for the day on which this one is stolen`;
  const last = isElsewhere
    ? `chancery-ca authorities request --config ${config}, for the offline root\n       ${move}`
    : move;
  return `made ${config}, root ${root} (until ${rootNotAfter})
next:  chancery-ca serve --config ${config}
       chancery-ca apply --config ${config} -f ${join(resolve(config, '..'), 'resources')}
       ${last}
`;
}
