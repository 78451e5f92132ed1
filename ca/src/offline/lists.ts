/** The revocation lists of roots whose key is elsewhere: when one is asked for, and what is taken. */
import { join } from 'node:path';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { type Crl, crlEntries, parseCrl } from '@chancery/shared/x509/crl.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { isSameName } from '@chancery/shared/x509/names.ts';
import { verifyCrl } from '@chancery/shared/x509/verify/crl.ts';
import { oneBlock } from '../ceremony/block.ts';
import { CRL_LABEL, writeListRequest } from '../ceremony/list.ts';
import { revokedIntermediates } from '../crl/issuers.ts';
import { isOffline } from '../keys/offline.ts';
import { isInBundle, isStandby, keepsKey } from '../store/authority-states.ts';
import type { AuthorityStore, StoredAuthority } from '../store/store.ts';
import type { Imported } from './intermediates.ts';
import type { OpenRequest } from './open.ts';

export interface ListDeps {
  readonly store: AuthorityStore;
  readonly clock: Pick<Clock, 'now'>;
  readonly folder: string;
  /** Called when there is another list in the store. */
  readonly onList: () => void;
}

/** A root is visited a few times a year: with each intermediate of 90 days a list comes along. */
const LIST_SECONDS = 180 * 86_400;
const CODE = 'authority_answer';

/** Of each offline root in the bundle whose list is missing, half over, or lacks an intermediate. Throws store. */
export async function listRequests(deps: ListDeps): Promise<readonly OpenRequest[]> {
  const [records, crls, now] = [
    await deps.store.authorities(),
    await deps.store.rootCrls(),
    deps.clock.now(),
  ];
  return records.filter(isListed).flatMap((root) => {
    const held = crls.find((each) => each.root === root.serial);
    return requestOf(root, { records, held: held && parseCrl(held.der), now }, deps.folder) ?? [];
  });
}

/** A root that stands by has signed nothing. */
const isListed = (each: StoredAuthority): boolean => isOffline(each) && isInBundle(each) && !isStandby(each);

interface Known {
  readonly records: readonly StoredAuthority[];
  readonly held: Crl | undefined;
  readonly now: Date;
}

function requestOf(root: StoredAuthority, known: Known, folder: string): OpenRequest | undefined {
  const { records, held, now } = known;
  const certificate = parseCertificate(root.certificate);
  const { bytes: entries } = revokedIntermediates(records, certificate, now);
  const madeAt = dueSince(root, entries, known);
  if (madeAt === undefined) return undefined;
  const thisUpdate = wholeSecond(latestStart(madeAt, now));
  const least = BigInt(thisUpdate.getTime() / 1000);
  const number = held !== undefined && held.number >= least ? held.number + 1n : least;
  const keyId = keyIdentifierOf(certificate.spki, 'certificate_parse');
  const fields = { issuer: certificate.subject, keyId, number, thisUpdate };
  const nextUpdate = addSeconds(thisUpdate, LIST_SECONDS);
  const tbs = writeCrlTbs({ ...fields, nextUpdate, entries }, root.algorithm);
  return {
    ...{ kind: 'crl', root: root.serial, label: number.toString(16), madeAt, holds: 'list' },
    until: held !== undefined && now < held.nextUpdate ? held.nextUpdate : undefined,
    pem: writeListRequest(tbs),
    file: join(folder, `crl-${root.serial}.pem`),
  };
}

/** The newest reason for another list; undefined if there is none. */
function dueSince(
  root: StoredAuthority,
  entries: Uint8Array,
  { records, held, now }: Known,
): Date | undefined {
  const known = new Set(held === undefined ? [] : [...crlEntries(held)].map(entryText));
  const missing = [...crlEntries({ entries })].filter((each) => !known.has(entryText(each)));
  const since = missing.map(({ serial }) => {
    const gone = records.find((each) => each.serial === serial);
    return Math.max(gone?.movedAt.getTime() ?? 0, gone?.taintedAt?.getTime() ?? 0);
  });
  if (held === undefined) since.push(root.movedAt.getTime());
  else {
    const half = addSeconds(held.thisUpdate, LIST_SECONDS / 2);
    if (half <= now) since.push(half.getTime());
  }
  return since.length === 0 ? undefined : new Date(Math.max(...since));
}

const entryText = ({
  serial,
  reason,
}: {
  readonly serial: string;
  readonly reason: number | undefined;
}): string => `${serial} ${reason}`;

/** A request that has waited for half of a list's life asks for one from then on; the file is the same in between. */
function latestStart(madeAt: Date, now: Date): Date {
  const half = (LIST_SECONDS / 2) * 1000;
  const halves = Math.max(0, Math.floor((now.getTime() - madeAt.getTime()) / half));
  return new Date(madeAt.getTime() + halves * half);
}

const wholeSecond = (time: Date): Date => new Date(Math.floor(time.getTime() / 1000) * 1000);

/** Throws authority_answer, crl, store. */
export async function takeList(
  bytes: Uint8Array,
  by: string,
  dryRun: boolean,
  { store, clock, onList }: ListDeps,
): Promise<Imported> {
  const [records, crls, now] = [await store.authorities(), await store.rootCrls(), clock.now()];
  const der = oneBlock(bytes, CRL_LABEL, CODE);
  const root = issuerOf(parseCrl(der), records);
  const held = crls.find((each) => each.root === root.serial);
  const crl = verifyCrl({ der, issuer: parseCertificate(root.certificate), now, held: held?.number });
  const { number, thisUpdate: notBefore, nextUpdate: notAfter } = crl;
  ensure(number !== held?.number, CODE, `list ${number.toString(16)} was imported before`);
  const serials = [...crlEntries(crl)].map(({ serial }) => serial);
  ensureNoneSigns(serials, records);
  const imported = { kind: 'crl', serial: root.serial, notBefore, notAfter, signs: false } as const;
  if (dryRun) return imported;
  const saved = await store.saveRootCrl(
    { root: root.serial, number, der },
    {
      ...{ type: 'authority.listed', root: root.serial, number: number.toString(16), by },
      ...{ entries: serials.length, nextUpdate: notAfter.toISOString() },
    },
  );
  ensure(saved, CODE, 'another process has imported a newer list');
  onList();
  return imported;
}

function issuerOf({ issuer }: Crl, records: readonly StoredAuthority[]): StoredAuthority {
  const named = (certificate: Certificate): boolean => isSameName(certificate.subject, issuer, CODE);
  const root = records.find((each) => isListed(each) && named(parseCertificate(each.certificate)));
  ensure(root !== undefined, CODE, 'the list is of no offline root in the bundle');
  return root;
}

/** Everybody who has the list would refuse what is issued. */
function ensureNoneSigns(serials: readonly string[], records: readonly StoredAuthority[]): void {
  const signs = records.find((each) => keepsKey(each) && serials.includes(each.serial));
  const says = `the list revokes ${signs?.kind} ${signs?.serial}, which is ${signs?.state} here`;
  ensure(signs === undefined, CODE, `${says}: taint it first, or ask the root for another list`);
}
