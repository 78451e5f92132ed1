/** Puts the rooms together and runs the CA until it is told to stop. */
import { existsSync } from 'node:fs';
import type { Audit, AuditEvent } from '@chancery/shared/audit/event.ts';
import { type RefusalEvent, Refusals, type RefusedPeer } from '@chancery/shared/audit/refusals.ts';
import { openFilesLimit } from '@chancery/shared/door/descriptors.ts';
import { type Clock, cautiousTime } from '@chancery/shared/ground/clock.ts';
import { ensure, type IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import { serveHealth } from '@chancery/shared/health/server.ts';
import { Callers } from '@chancery/shared/rpc/callers.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { Agents } from './agents/agents.ts';
import { Serving } from './agents/serving.ts';
import { Authorities } from './authority/authorities.ts';
import { recordedNodes } from './authority/recorded.ts';
import { NO_ROOT } from './authority/records.ts';
import { type CaSettings, paths } from './config.ts';
import { type Cross, openCross } from './cross/cross.ts';
import { type Doors, openDoors } from './door/doors.ts';
import { openRates } from './door/rates.ts';
import { turnedAwayLog } from './door/turned-away.ts';
import { settleJwtKey } from './jwt/keys.ts';
import { openRotations, type Rotations } from './jwt/rotations.ts';
import type { KeyHomes } from './keys/homes.ts';
import { openMetrics } from './measure.ts';
import { openRequests, type Requests } from './offline/requests.ts';
import { keysOf } from './open-keys.ts';
import { type OpenLog, openLog } from './open-log.ts';
import { openPlatforms, openSignIn } from './open-outside.ts';
import { openPublic } from './open-public.ts';
import { openRecovery } from './open-recovery.ts';
import { openOperator } from './operator/operator.ts';
import { OwnCertificate } from './own-certificate.ts';
import { dnsNamesOf } from './registry/dns-names.ts';
import { openRegistry, type Registry } from './registry/registry.ts';
import { refusedByNow } from './registry/resources.ts';
import { openRevocations } from './revocation/revocations.ts';
import { steadyClock } from './rotation/steady.ts';
import type { RotationDeps } from './rotation/step.ts';
import type { Caller } from './rpc/caller.ts';
import { Nonces } from './rpc/exchange/nonces.ts';
import { listenLocally, listenTls } from './rpc/listen.ts';
import { recordRefusal } from './rpc/refuse.ts';
import { grpcServer } from './rpc/server.ts';
import { FileReads, settingsIn } from './serving/loaded.ts';
import type { Self } from './serving/serving.ts';
import { findPerson, peopleSeen, type SessionDeps } from './sign-in/sessions.ts';
import { type FirstHour, openFirstHour } from './store/clock-warning.ts';
import { openTold, type ToldDeps } from './store/sqlite/file/migration-log.ts';
import type { openSqliteThread } from './store/sqlite/sqlite.ts';
import type { Store } from './store/store.ts';
import { MAX_KEPT, Successions } from './succession/successions.ts';
import { startUpkeep, whyImpaired, whyUnfit } from './upkeep.ts';

export interface ServeDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: (size: number) => Uint8Array;
  readonly ownUid: number;
  /** Of the program. */
  readonly version: string;
}

export interface RunningCa {
  /** The TLS port, and the port of health and metrics. */
  readonly port: number;
  readonly httpPort: number;
  /** Of the revocation lists; undefined if the config has no `crl.listen`. */
  readonly crlPort: number | undefined;
  /** Of the keys of tokens; undefined if the config has no `jwt`. */
  readonly jwtPort: number | undefined;
  /** While a call of the file system hangs. */
  readonly isBlocked: () => boolean;
  /** Resolves where nothing can be signed any more in this process, and says why: close it, and let it start again. */
  readonly lost: Promise<IdentityError>;
  /** Lets calls end for 2 s, then cuts them. The store is closed last. */
  close(): Promise<void>;
}

const CLOSE_GRACE_MS = 2_000;

/** Makes no database where there is none. Throws store, file, file_mode, config, authority_unfit, unavailable. */
export async function startCa(settings: CaSettings, deps: ServeDeps & ToldDeps): Promise<RunningCa> {
  // Says what is wrong with a file in its place.
  if (existsSync(settings.dataDir)) makeFolder(settings.dataDir, 0o711);
  ensure(existsSync(paths(settings.dataDir).database), 'store', NO_ROOT);
  return runCa(settings, deps, await openStore(settings, deps.clock, openTold(deps)));
}

/** `open` chooses the thread. Throws store, file, file_mode. */
export async function openStore(
  { dataDir }: Pick<CaSettings, 'dataDir'>,
  clock: Clock,
  open: typeof openSqliteThread,
): Promise<Store> {
  makeFolder(dataDir, 0o711);
  ensurePrivateFolder(dataDir);
  const { database, generation } = paths(dataDir);
  return open(database, clock, generation);
}

/** The authorities of this data folder, open for signing. */
export const openAuthorities = (
  settings: CaSettings,
  deps: ServeDeps & { readonly store: Store; readonly keys: KeyHomes },
): Promise<Authorities> => Authorities.open(authorityDeps(settings, deps));

function authorityDeps<T extends ServeDeps & { readonly store: Store; readonly keys: KeyHomes }>(
  settings: CaSettings,
  deps: T,
) {
  const { trustDomain, rootTtl, intermediateTtl, crl } = settings;
  return { ...deps, trustDomain, rootTtl, intermediateTtl, crlBase: crl.url };
}

interface Closing {
  close(): Promise<void>;
}

/** As `startCa`, on a store that the caller has opened. Closing the CA closes it, and so does a failed start. */
export async function runCa(settings: CaSettings, deps: ServeDeps, store: Store): Promise<RunningCa> {
  const open: Closing[] = [];
  let closeKeys = async (): Promise<void> => {};
  const close = async (): Promise<void> => {
    await Promise.all(open.map((part) => part.close()));
    await closeKeys();
    await store.close();
  };
  try {
    const [keys, cautious] = [await keysOf(settings), cautiousTime(deps.clock)];
    closeKeys = () => keys.close();
    const fileReads = new FileReads();
    const ports = await openAll(settings, { ...deps, store, keys: keys.homes, cautious, open, fileReads });
    fileReads.started();
    return { ...ports, lost: store.lost, close };
  } catch (error) {
    await close();
    throw error;
  }
}

type Ports = Pick<RunningCa, 'port' | 'httpPort' | 'crlPort' | 'jwtPort' | 'isBlocked'>;

interface OpenDeps extends ServeDeps {
  readonly cautious: () => Date;
  readonly fileReads: FileReads;
  readonly store: Store;
  readonly keys: KeyHomes;
  /** Everything that has been opened and must be closed. */
  readonly open: Closing[];
}

async function openAll(settings: CaSettings, deps: OpenDeps): Promise<Ports> {
  const { clock, log, store, open } = deps;
  const turnedAway = turnedAwayLog({ clock, log, count: (of) => metrics.turnedAway(of) });
  open.push({ close: async () => turnedAway.close() });
  const doors = openDoors(settings.limits, openFilesLimit(), { clock, log, turnedAway });
  const firstHour = await openFirstHour(deps);
  await settleJwtKey(deps);
  const authorities = await openAuthorities(settings, deps);
  const auditLog = await openLog(settings, { ...deps, ...firstHour });
  open.push(auditLog);
  const { trustDomain } = settings;
  const platforms = await openPlatforms(settings, deps);
  const registry = await openRegistry({ ...deps, trustDomain, platforms: new Set(platforms.keys()) });
  for (const warning of refusedByNow(registry.sets.current().resources)) log.warn({}, warning);
  const revocations = await openRevocations({ ...deps, trustDomain });
  const own = await OwnCertificate.issue({ ...deps, authorities, revocations, trustDomain });
  const signing = { authorities, revocations, own };
  const recovery = await openRecovery(settings, { ...deps, ...signing, auditLog, registry });
  const [agents, serving, rates] = [new Agents(clock), new Serving(clock), openRates(settings, clock)];
  const { lists, wake, ...ports } = await openPublic(settings, { ...deps, authorities, revocations });
  const rotation = rotationOf(settings, { ...deps, ...signing, agents });
  const requests = await requestsOf(settings, { ...deps, authorities, onList: wake });
  const steps = { rotation, requests, cross: crossOf(settings, { ...deps, authorities, registry }) };
  const measured = { agents, authorities, registry, revocations, ...steps, ...rates, doors, auditLog };
  const metrics = openMetrics({ ...deps, ...measured, recovery, lists, firstHour });
  const successions = new Successions(clock, deps.random(32), await store.successions(MAX_KEPT));
  const [callers, nonces] = [new Callers<Caller>(), new Nonces(clock, deps.random)];
  const [{ outcome, observe }, { vouchers, notes, checkpoint, standstill }] = [metrics, auditLog];
  const told = { vouchers, notes, checkpoint, recovery };
  const watched = { registry, revocations, successions, authorities, agents, serving, ...told };
  const rooms = { ...watched, ...rates, callers, nonces, slow: doors.slow, outcome, observe, turnedAway };
  const audit = (event: AuditEvent) => store.append(event);
  const fold = openRefusals(settings, { ...deps, audit });
  const known = { connections: settings.limits.connections, trustDomain, attestors: platforms };
  const copyPath = paths(settings.dataDir).databaseCopy;
  const [people, twoPeople] = [() => peopleSeen(store), settings.operators?.twoPeople ?? false];
  const unfit = () => recovery.whyHeld() ?? whyUnfit(deps, authorities, own);
  const operating = { ...steps, ...rates, audit, copyPath, people, twoPeople, standstill };
  const itself = itselfOf(settings, { ...deps, ...firstHour, unfit, standstill });
  const operator = openOperator({ ...deps, ...watched, ...operating, ...itself });

  const signIn = openSignIn(settings, { ...deps, ...watched });
  const more = { operator, signIn, own, audit, fold, reports: store, crls: lists };
  const server = grpcServer({ ...deps, ...rooms, ...known, ...more });
  open.push({ close: () => server.close(CLOSE_GRACE_MS) });
  const port = await listenAll(settings, { ...deps, ...rooms, doors, inject: server.inject, svid: own.svid });
  const { listen, healthOnly } = settings.http;
  const at = { ...hostAndPort(listen), metrics: healthOnly ? undefined : metrics };
  const http = await serveHealth({ ...at, ...itself.self, log });
  open.push(http, startUpkeep({ ...deps, ...firstHour, ...steps, ...signing }));
  log.info({ listen: settings.listen, port, platforms: [...platforms.keys()] }, 'serving');
  return { port, httpPort: http.port, isBlocked: auditLog.isBlocked, ...ports };
}

/** What an operator may ask of this process itself. */
const itselfOf = (
  settings: CaSettings,
  deps: OpenDeps & Pick<Self, 'unfit'> & Pick<OpenLog, 'standstill'> & Pick<FirstHour, 'doubt'>,
) => ({
  self: {
    version: deps.version,
    since: deps.clock.now(),
    loaded: { settings: settingsIn(settings), files: deps.fileReads.digests },
    unfit: deps.unfit,
    impaired: () => whyImpaired(deps.standstill()),
    doubt: deps.doubt,
  } satisfies Self,
  keepSeconds: settings.audit.keep,
});

type RotatingDeps = OpenDeps & Pick<RotationDeps, 'agents' | 'revocations'>;

function rotationOf(
  settings: CaSettings,
  deps: RotatingDeps & Pick<RotationDeps, 'own'> & { readonly authorities: Authorities },
): Rotations {
  const ensureSteady = steadyClock(deps.clock, deps.cautious);
  return openRotations({ ...deps, ...authorityDeps(settings, deps), ensureSteady });
}

function crossOf(
  { trustDomain, intermediateTtl }: CaSettings,
  deps: OpenDeps & { readonly authorities: Authorities; readonly registry: Registry },
): Cross {
  const dnsNames = () => dnsNamesOf(deps.registry.sets.current());
  return openCross({ ...deps, trustDomain, intermediateTtl, dnsNames });
}

/** What an offline root is asked for; it is asked now if that is due. */
async function requestsOf(
  settings: CaSettings,
  deps: OpenDeps & { readonly authorities: Authorities; readonly onList: () => void },
): Promise<Requests> {
  const { trustDomain, dataDir } = settings;
  const requests = openRequests({ ...deps, trustDomain, folder: paths(dataDir).requests });
  await requests.keepUp();
  return requests;
}

/** Folds refusals on their way to the audit log. */
function openRefusals({ limits }: CaSettings, deps: OpenDeps & { readonly audit: Audit }) {
  const { clock, log, random, open, audit } = deps;
  const refusals = new Refusals({
    clock,
    inFull: limits.refusalsInFull,
    record: (event) => recordRefusal(event, { audit, log }),
    onLost: (error, lost) => log.error({ err: error, ...lost }, 'repeated refusals could not be recorded'),
    referenceKey: random(32),
  });
  open.push({ close: async () => refusals.close() });
  return (event: RefusalEvent, peer: RefusedPeer) => refusals.tell(event, peer);
}

interface ListenAllDeps extends OpenDeps {
  readonly doors: Doors;
  readonly callers: Callers<Caller>;
  readonly inject: Parameters<typeof listenTls>[1]['inject'];
  readonly svid: LiveValue<Svid>;
  readonly authorities: Authorities;
  readonly revocations: SessionDeps['revocations'];
}

/** Returns the port of TLS. */
async function listenAll(settings: CaSettings, deps: ListenAllDeps): Promise<number> {
  const { admin, join } = paths(settings.dataDir);
  const { svid, authorities, doors, open, store } = deps;
  const options = {
    ...hostAndPort(settings.listen),
    connections: doors.tls,
    slow: doors.slow,
    svid,
    bundle: authorities.callers,
    nodeOf: recordedNodes(store),
    isTainted: authorities.isTainted,
    findPerson: (svid: Parameters<typeof findPerson>[0]) => findPerson(svid, deps),
  };
  const over = await listenTls(options, deps);
  open.push(over);
  open.push(await listenLocally({ path: admin, via: 'admin', connections: doors.admin }, deps));
  if (settings.attestors.unix !== undefined)
    open.push(await listenLocally({ path: join, via: 'join', connections: doors.join }, deps));
  return over.port;
}
