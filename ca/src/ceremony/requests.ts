/**
 * What a CA does whose root is offline: it asks for its next intermediate at half of the life of the one that signs, by
 * a file, and takes the signed answer. The truth is in the store; the file is written again if it was removed.
 */
import { readFileSync, rmSync } from 'node:fs';
import { equal, hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type { Authorities } from '../authority/authorities.ts';
import { freshIntermediate, lastIntermediate, movesFor, rootOf } from '../authority/records.ts';
import { drawSerial } from '../authority/serial.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuthorityRequest } from '../store/request-store.ts';
import type { AuthorityRecord, AuthorityStore, StoredAuthority } from '../store/store.ts';
import { readAnswer } from './answer.ts';
import { readAuthorityRequest, writeAuthorityRequest } from './request.ts';

export interface RequestDeps {
  readonly trustDomain: TrustDomain;
  readonly keys: Pick<KeyHomes, 'intermediate'>;
  readonly store: AuthorityStore;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
  readonly log: Log;
  readonly authorities: Pick<Authorities, 'refresh'>;
  /** Where the request is written for the person who carries it. */
  readonly file: string;
}

/** A request that waits for its answer. */
export interface OpenRequest extends AuthorityRequest {
  readonly file: string;
  /** The end of the intermediate that signs: from then on nothing is issued. Undefined if nothing is issued now. */
  readonly until: Date | undefined;
}

/** An intermediate that was signed elsewhere. */
export interface Imported {
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export type Requests = ReturnType<typeof openRequests>;

/** Steps are made one after the other in this process. Needs no closing. */
export function openRequests(deps: RequestDeps) {
  let last: Promise<unknown> = Promise.resolve();
  let open: OpenRequest | undefined;
  const look = async (): Promise<OpenRequest | undefined> => {
    open = await openNow(deps);
    return open;
  };
  const inOrder = <T>(step: () => Promise<T>): Promise<T> => {
    const made = last.then(step);
    last = made.catch(() => {});
    return made;
  };
  return {
    /** What was open when it was looked at last, for metrics. */
    known: (): OpenRequest | undefined => open,
    /** What is open. Throws store. */
    open: look,
    /** Asks if an intermediate is due, and writes the file of what is open. Throws store, file, key_unreachable. */
    keepUp: () =>
      inOrder(async () => {
        await dropStale(deps);
        if (await isDue(deps)) await ask(undefined, deps);
        keepFile(await look(), deps);
      }),
    /** Asks now, if nothing is open. Throws rotation if the root is not offline; and as `keepUp`. */
    ask: (by: string) =>
      inOrder(async (): Promise<OpenRequest> => {
        await dropStale(deps);
        const asked = (await look()) ?? (await ask(by, deps).then(look));
        ensure(asked !== undefined, 'store', 'another process has changed the authorities; try again');
        keepFile(asked, deps);
        return asked;
      }),
    /** Takes an answer, which signs from now on. Throws authority_answer, certificate_parse, store. */
    take: (bytes: Uint8Array, by: string, dryRun: boolean) =>
      inOrder(async (): Promise<Imported> => {
        const imported = await take(bytes, by, dryRun, deps);
        if (!dryRun) keepFile(await look(), deps);
        return imported;
      }),
  };
}

async function openNow({ store, keys, clock, file }: RequestDeps): Promise<OpenRequest | undefined> {
  const [request, records, now] = [await store.authorityRequest(), await store.authorities(), clock.now()];
  const root = rootOf(records);
  if (request?.root !== root.serial) return undefined;
  const signs = await lastIntermediate(records, root, { now, keys: keys.intermediate });
  return { ...request, file, until: signs?.notAfter };
}

/** Undefined unless the root that signs is offline. */
function offlineRoot(records: readonly StoredAuthority[]): StoredAuthority | undefined {
  const root = rootOf(records);
  return isOffline(root) ? root : undefined;
}

async function isDue({ store, keys, clock }: RequestDeps): Promise<boolean> {
  const records = await store.authorities();
  const root = offlineRoot(records);
  if (root === undefined || (await store.authorityRequest()) !== undefined) return false;
  const choice = { now: clock.now(), keys: keys.intermediate };
  return (await freshIntermediate(records, root, choice)) === undefined;
}

/** Another root signs now: what the one before was asked for will not be used. */
async function dropStale({ store, keys }: RequestDeps): Promise<void> {
  const [request, root] = [await store.authorityRequest(), rootOf(await store.authorities())];
  if (request === undefined || request.root === root.serial) return;
  const { label } = request;
  const dropped = await store.dropAuthorityRequest(label, {
    type: 'authority.requestDropped',
    label,
    root: request.root,
  });
  if (dropped) await keys.intermediate.remove(request.key);
}

async function ask(by: string | undefined, deps: RequestDeps): Promise<void> {
  const { store, keys, clock, random, trustDomain, log } = deps;
  const root = offlineRoot(await store.authorities());
  ensure(root !== undefined, 'rotation', 'the root is not offline: the CA makes its intermediates by itself');
  const madeAt = clock.now();
  const label = hex(drawSerial(madeAt, random, await store.life()));
  const { signer, place: key } = await keys.intermediate.create(label);
  const pem = await writeAuthorityRequest(signer, { kind: 'intermediate', trustDomain, label });
  const { sha256 } = readAuthorityRequest(utf8(pem), 'intermediate').key;
  const request = { label, root: root.serial, key, pem, madeAt };
  const event = { type: 'authority.requested', label, root: root.serial, keySha256: hex(sha256) } as const;
  const asked = await store.askForAuthority(request, by === undefined ? event : { ...event, by });
  // Another process was faster: this key would be for nothing.
  if (!asked) await keys.intermediate.remove(key);
  else
    log.warn(
      { label, file: deps.file },
      'the offline root is asked for an intermediate: carry the request to it',
    );
}

async function take(bytes: Uint8Array, by: string, dryRun: boolean, deps: RequestDeps): Promise<Imported> {
  const { store, keys, trustDomain, clock } = deps;
  const [records, request, now] = [await store.authorities(), await store.authorityRequest(), clock.now()];
  const root = rootOf(records);
  const open = request?.root === root.serial ? request : undefined;
  const asked = open && readAuthorityRequest(utf8(open.pem), 'intermediate');
  const certificate = readAnswer(bytes, {
    root: parseCertificate(root.certificate),
    trustDomain,
    spki: asked?.key.spki,
    known: new Set(records.map(({ serial }) => serial)),
    now,
  });
  ensure(open !== undefined && asked !== undefined, 'authority_answer', 'no request is open');
  // What has no key here could never sign.
  const own = (await keys.intermediate.load(open.key)).spki;
  ensure(equal(own, certificate.spki), 'key_wrong', 'the key of the request is another one');
  const { notBefore, notAfter } = certificate;
  const serial = hex(certificate.serial);
  if (dryRun) return { serial, notBefore, notAfter };
  const { algorithm } = asked;
  const about = { serial, kind: 'intermediate', state: 'prepared', algorithm, key: open.key } as const;
  await save({ ...about, certificate: certificate.der, notAfter }, open.label, by, deps);
  return { serial, notBefore, notAfter };
}

async function save(record: AuthorityRecord, label: string, by: string, deps: RequestDeps): Promise<void> {
  const { store, clock, authorities } = deps;
  const { serial, notAfter } = record;
  const saved = await store.answerAuthorityRequest(label, record, {
    type: 'authority.imported',
    kind: 'intermediate',
    label,
    serial,
    notAfter: notAfter.toISOString(),
    by,
  });
  ensure(saved !== undefined, 'authority_answer', 'the request was answered by another process');
  // After a crash here the new one signs from half of the life of the one before.
  const moves = movesFor(await store.authorities(), record, clock.now());
  await store.moveAuthorities(moves, { type: 'authority.moved', moves, by });
  await authorities.refresh();
}

/** The file has what is open, and is not there if nothing is. Throws file. */
function keepFile(request: OpenRequest | undefined, { file }: RequestDeps): void {
  if (request === undefined) rmSync(file, { force: true });
  else if (textIn(file) !== request.pem) writeFileAtomic(file, utf8(request.pem), 0o644);
}

function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
