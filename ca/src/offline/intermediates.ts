/** Intermediates of a root whose key is elsewhere: when it is asked for one, and what is taken. */
import { equal, hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type { Authorities } from '../authority/authorities.ts';
import { freshIntermediate, movesFor, rootOf } from '../authority/records.ts';
import { drawSerial } from '../authority/serial.ts';
import { readAuthorityRequest, writeAuthorityRequest } from '../ceremony/request.ts';
import { isStandby, maySign } from '../store/authority-states.ts';
import type { AuthorityRecord, StoredAuthority } from '../store/store.ts';
import { certificateIn, readAnswer } from './answer.ts';
import { isAsked, type OpenDeps } from './open.ts';

export interface IntermediateDeps extends OpenDeps {
  readonly trustDomain: TrustDomain;
  readonly random: (size: number) => Uint8Array;
  readonly log: Log;
  readonly authorities: Pick<Authorities, 'refresh'>;
}

/** What was signed elsewhere and is taken. */
export interface Imported {
  readonly kind: 'intermediate' | 'voucher' | 'crl';
  /** Of the intermediate, of the root that was vouched for, or of the root whose list it is. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Whether it signs from now on. */
  readonly signs: boolean;
}

/** Roots that need another intermediate, each without an open request. Throws store. */
export async function dueRoots({
  store,
  keys,
  clock,
}: IntermediateDeps): Promise<readonly StoredAuthority[]> {
  const [records, asked] = [await store.authorities(), await store.authorityRequests()];
  const due: StoredAuthority[] = [];
  for (const root of records.filter((each) => isAsked(each) && !isStandby(each))) {
    if (asked.some((each) => each.root === root.serial)) continue;
    const choice = { now: clock.now(), keys: keys.intermediate };
    if ((await freshIntermediate(records, root, choice)) === undefined) due.push(root);
  }
  return due;
}

/** What a root was asked for that will not sign any more will not be used. Throws store. */
export async function dropStale({ store, keys }: IntermediateDeps): Promise<void> {
  const records = await store.authorities();
  for (const { label, root, key } of await store.authorityRequests()) {
    const asked = records.find(({ serial }) => serial === root);
    if (asked !== undefined && isAsked(asked)) continue;
    const event = { type: 'authority.requestDropped', label, root } as const;
    if (await store.dropAuthorityRequest(label, event)) await keys.intermediate.remove(key);
  }
}

/** Does nothing if the root is asked already. Throws store, key_unreachable. */
export async function ask(
  root: StoredAuthority,
  by: string | undefined,
  deps: IntermediateDeps,
): Promise<void> {
  const { store, keys, clock, random, trustDomain, log, folder } = deps;
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
      { label, root: root.serial, folder },
      'the offline root is asked for an intermediate: carry the request to it',
    );
}

/** Throws authority_answer, certificate_parse, key_wrong, store. */
export async function takeIntermediate(
  bytes: Uint8Array,
  by: string,
  dryRun: boolean,
  deps: IntermediateDeps,
): Promise<Imported> {
  const { store, keys, trustDomain, clock } = deps;
  const [records, requests, now] = [await store.authorities(), await store.authorityRequests(), clock.now()];
  const { spki } = certificateIn(bytes);
  const open = requests.map((each) => ({
    ...each,
    asked: readAuthorityRequest(utf8(each.pem), 'intermediate'),
  }));
  // That of another key is compared with the first one, for what is said.
  const found = open.find(({ asked }) => equal(asked.key.spki, spki)) ?? open[0];
  const root = records.find(({ serial }) => serial === found?.root) ?? rootOf(records);
  const certificate = readAnswer(bytes, {
    root: parseCertificate(root.certificate),
    trustDomain,
    spki: isAsked(root) ? found?.asked.key.spki : undefined,
    known: new Set(records.map(({ serial }) => serial)),
    now,
  });
  ensure(found !== undefined, 'authority_answer', 'no request is open');
  // What has no key here could never sign.
  const own = (await keys.intermediate.load(found.key)).spki;
  ensure(equal(own, certificate.spki), 'key_wrong', 'the key of the request is another one');
  const { notBefore, notAfter } = certificate;
  const serial = hex(certificate.serial);
  const imported = { kind: 'intermediate', serial, notBefore, notAfter, signs: maySign(root) } as const;
  if (dryRun) return imported;
  const { algorithm } = found.asked;
  const about = { serial, kind: 'intermediate', state: 'prepared', algorithm, key: found.key } as const;
  await save({ ...about, certificate: certificate.der, notAfter }, found, by, deps);
  return imported;
}

async function save(
  record: AuthorityRecord,
  { label, root }: { readonly label: string; readonly root: string },
  by: string,
  deps: IntermediateDeps,
): Promise<void> {
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
  const records = await store.authorities();
  // One under a root that is yet to sign waits for that. After a crash here it signs when the one before is half over.
  if (records.some((each) => each.serial === root && maySign(each))) {
    const moves = movesFor(records, record, clock.now());
    await store.moveAuthorities(moves, { type: 'authority.moved', moves, by });
  }
  await authorities.refresh();
}
