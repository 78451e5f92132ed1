/** A whole CA in this process, real except for its clock. Tests can read its audit log. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { dirname, join as joinPath } from 'node:path';
import { tlsTarget, unixTarget } from '@chancery/agent/svid/channel.ts';
import { init } from '@chancery/ca/cli/init.ts';
import { paths, readCaConfig } from '@chancery/ca/config.ts';
import { withKeys } from '@chancery/ca/open-keys.ts';
import { openAuthorities, openStore, type RunningCa, runCa, type ServeDeps } from '@chancery/ca/serve.ts';
import { maySign } from '@chancery/ca/store/authority-states.ts';
import { openSqliteThread } from '@chancery/ca/store/sqlite/sqlite.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import {
  type ApplyResponse,
  type ListAgentsResponse,
  OperatorClient,
  type RevokeResponse,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { readKeyFile } from '@chancery/shared/keys/file.ts';
import { readKek } from '@chancery/shared/keys/kek.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type * as grpc from '@grpc/grpc-js';
import { stringify } from 'yaml';
import type { Made } from '../certificates.ts';
import { MovableClock } from '../clock.ts';
import { makeFolder, removeFolder } from '../processes.ts';

export const TRUST_DOMAIN = 'test.example';

export interface TestCa {
  readonly dir: string;
  readonly clock: MovableClock;
  readonly store: Store;
  readonly running: RunningCa;
  readonly bundle: Bundle;
  readonly joinSocket: string;
  readonly adminSocket: string;
  /** Where the CA answers over TLS, with this certificate or none. */
  target(svid?: Svid): ReturnType<typeof tlsTarget>;
  apply(...resources: readonly object[]): Promise<void>;
  /** The CA's own authority with its key, for certificates that it would never issue itself. */
  authority(kind: 'root' | 'intermediate'): Promise<Made>;
  /** The certificates' ends of the agents whose stream is open, seconds since 1970. */
  agentsUntil(): Promise<readonly number[]>;
  /** What `chancery-ca revoke` would do, with a reason of the kit's. */
  revoke(kind: string, value: string): Promise<RevokeResponse>;
  /** The same folder and clock, another run: this one is of no more use. */
  restarted(): Promise<TestCa>;
  /** Of the refusals so far, oldest first. */
  refusals(): Promise<readonly Extract<AuditEvent, { type: 'request.refused' }>[]>;
  close(): Promise<void>;
}

/** `config` overrides the keys of the CA's config; both unix sockets and a TLS port are open afterwards. */
export async function startTestCa(config: object, log: Log = silentLog): Promise<TestCa> {
  const dir = makeFolder();
  const clock = new MovableClock();
  const deps: ServeDeps = {
    clock,
    log,
    random: (size) => randomBytes(size),
    ownUid: process.getuid?.() ?? 0,
    version: 'test',
  };
  await initialise(dir, deps);
  const file = joinPath(dir, 'ca.yaml');
  // Tests read the reason of each refusal.
  const limits = { refusalsInFull: 1_000_000, ...(('limits' in config ? config.limits : {}) as object) };
  const fixed = { trustDomain: TRUST_DOMAIN, dataDir: 'data', keyEncryptionKey: 'key-encryption-key' };
  writeFileSync(
    file,
    stringify({
      ...fixed,
      listen: '127.0.0.1:0',
      http: '127.0.0.1:0',
      attestors: { unix: {} },
      ...config,
      limits,
    }),
  );
  return openTestCa(file, deps, clock);
}

async function openTestCa(file: string, deps: ServeDeps, clock: MovableClock): Promise<TestCa> {
  const dir = dirname(file);
  const settings = readCaConfig(file);
  const store = await openStore(settings, clock, openSqliteThread);
  const { bundle: source } = await withKeys(settings, (keys) =>
    openAuthorities(settings, { ...deps, store, keys }),
  );
  const bundle = source.current();
  const running = await runCa(settings, deps, store);
  const { join: joinSocket, admin: adminSocket } = paths(settings.dataDir);
  return {
    dir,
    clock,
    store,
    running,
    bundle,
    joinSocket,
    adminSocket,
    target: (svid) => tlsTarget(`127.0.0.1:${running.port}`, bundle, svid, clock),
    apply: (...resources) => apply(adminSocket, resources),
    agentsUntil: () => agentsUntil(adminSocket),
    authority: async (kind) => {
      const record = (await store.authorities()).find((each) => each.kind === kind && maySign(each));
      if (record === undefined) throw new Error(`there is no ${kind}`);
      const kek = readKek(settings.keyEncryptionKey);
      const key = readKeyFile(joinPath(paths(settings.dataDir).keys, `${record.serial}.key`), kek);
      return { certificate: parseCertificate(record.certificate), key };
    },
    revoke: (kind, value) => revoke(adminSocket, kind, value),
    restarted: async () => {
      await running.close();
      return openTestCa(file, deps, clock);
    },
    refusals: async () => {
      // Nobody waits for the record of a refusal, and reads overtake writes; this write comes after all before it.
      await store.prune(new Date(0));
      const events = await store.events(0, 100_000);
      return events.flatMap(({ event }) => (event.type === 'request.refused' ? [event] : []));
    },
    close: async () => {
      await running.close();
      removeFolder(dir);
    },
  };
}

async function initialise(dir: string, deps: ServeDeps): Promise<void> {
  const program = { name: 'ca', says: '', version: '0', commands: { init: init(deps) } };
  const errors: string[] = [];
  const io = {
    out() {},
    err: (text: string) => void errors.push(text),
    env: {},
    signal: new AbortController().signal,
    input: async () => '',
    isTerminal: false,
  };
  const status = await runProgram(program, ['init', '--trust-domain', TRUST_DOMAIN, '--dir', dir], io);
  if (status !== 0) throw new Error(errors.join(''));
}

async function apply(socket: string, resources: readonly object[]): Promise<void> {
  const text = resources.map((each) => stringify(each)).join('---\n');
  const files = [{ name: 'test.yaml', text, continues: false }];
  await operate<ApplyResponse | undefined>(socket, (client, done) => {
    const call = client.apply();
    call.end({ files, dryRun: false, allowSharedServerIds: true, pruneAll: true });
    call.toArray().then(
      (answers) => done(null, answers.at(-1)),
      (error) => done(error, undefined),
    );
  });
}

const revoke = (socket: string, kind: string, value: string) =>
  operate<RevokeResponse>(socket, (client, done) =>
    client.revoke({ kind, value, reason: 'keyCompromise', seconds: 0n, dryRun: false, force: false }, done),
  );

async function agentsUntil(socket: string): Promise<readonly number[]> {
  const { agents } = await operate<ListAgentsResponse>(socket, (client, done) => client.listAgents({}, done));
  return agents.map(({ certificateNotAfter }) => Number(certificateNotAfter));
}

type Done<T> = (error: grpc.ServiceError | null, response: T) => void;

async function operate<T>(socket: string, run: (client: OperatorClient, done: Done<T>) => void): Promise<T> {
  const { address, credentials, options } = unixTarget(socket);
  const client = new OperatorClient(address, credentials, options);
  try {
    return await new Promise<T>((resolve, reject) => {
      run(client, (error, response) => (error ? reject(error) : resolve(response)));
    });
  } finally {
    client.close();
  }
}
