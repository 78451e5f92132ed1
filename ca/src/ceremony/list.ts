/**
 * The revocation list of an offline root. The CA asks for it with the list as it is to be signed (RFC 5280 section
 * 5.1.2.1 to 5.1.2.7), so that who signs sees every certificate, and nothing else is signed.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readPemOnly, writePem } from '@chancery/shared/der/pem.ts';
import { equal, hex, utf8Text } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { CRL_REASON, crlEntryEnd, writeCrlEntry, writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { type Crl, crlEntries, parseCrl, parseCrlTbs, type ReadCrlEntry } from '@chancery/shared/x509/crl.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { ensureInTime } from '../authority/records.ts';
import { oneBlock } from './block.ts';
import { filesOf, readCarried, writeNew } from './folder.ts';
import { OFFLINE_BACKDATE_SECONDS } from './make.ts';
import type { RootFile } from './root.ts';

/** Of the request. */
export const LIST_REQUEST_LABEL = 'CHANCERY CRL REQUEST';
/** Of the answer (RFC 7468 section 6). */
export const CRL_LABEL = 'X509 CRL';
const CODE = 'authority_request';
/** Nobody can take a list back before its end: a stolen intermediate that came later would be missing on it. */
const MAX_LIST_SECONDS = 400 * 86_400;

/** What the list says. */
export type ListTbs = Omit<Crl, 'der' | 'signature'>;

export interface ListOrder {
  readonly dir: string;
  readonly root: RootFile;
  /** The file of the request, whole. */
  readonly request: Uint8Array;
  readonly now: Date;
}

/** What would be signed, which a person looks at before. */
export interface ListPlan {
  readonly list: ListTbs;
  readonly entries: readonly ReadCrlEntry[];
  /** Where the ceremony keeps the list. */
  readonly issued: string;
}

/** PEM, as `planListing` takes it. */
export const writeListRequest = (tbs: Uint8Array): string => writePem(LIST_REQUEST_LABEL, tbs);

/** Throws authority_request for a list that this root must not sign; authority_unfit if the root is not valid now. */
export function planListing({ dir, root, request, now }: ListOrder): ListPlan {
  const list = parseCrlTbs(oneBlock(request, LIST_REQUEST_LABEL, CODE), CODE);
  const entries = entriesOf(list);
  const says = 'the list is of another root, or says more than a list of this one';
  ensure(equal(written(list, entries, root), list.tbs), CODE, says);
  ensureInTime(root.certificate, now);
  ensureTimes(list, now);
  const issued = issuedBy(dir);
  for (const { serial } of entries)
    ensure(
      issued.has(serial),
      CODE,
      `the list names certificate ${serial}, which this ceremony has not signed`,
    );
  ensureAfter(list, entries, { before: newestIn(dir), issued, now });
  return { list, entries, issued: join(filesOf(dir).lists, `${numberText(list.number)}.pem`) };
}

/** Signs, and keeps the list before it is given out; returns it in PEM. Throws file. */
export async function signList({ list, issued }: ListPlan, signer: Signer): Promise<string> {
  const der = assembleCertificate(list.tbs, signer.algorithm, await signer.sign(list.tbs));
  const pem = writePem(CRL_LABEL, der);
  writeNew(issued, pem);
  return pem;
}

function entriesOf(list: ListTbs): readonly ReadCrlEntry[] {
  try {
    return [...crlEntries(list)];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError(CODE, error.message, { cause: error });
  }
}

/** As the CA writes it: anything else in the request would be signed without being seen. */
function written(
  list: ListTbs,
  entries: readonly ReadCrlEntry[],
  { certificate, algorithm }: RootFile,
): Uint8Array {
  const { number, thisUpdate, nextUpdate } = list;
  const ends = entries.map(({ serial, revokedAt, reason = 0 }) => {
    const named = reason === CRL_REASON.keyCompromise ? 'keyCompromise' : 'cessationOfOperation';
    return writeCrlEntry(Buffer.from(serial, 'hex'), crlEntryEnd(revokedAt, named));
  });
  const keyId = keyIdentifierOf(certificate.spki, CODE);
  const fields = { issuer: certificate.subject, keyId, number, thisUpdate, nextUpdate };
  return writeCrlTbs({ ...fields, entries: Buffer.concat(ends) }, algorithm);
}

function ensureTimes({ thisUpdate, nextUpdate }: ListTbs, now: Date): void {
  const [from, to, is] = [thisUpdate, nextUpdate, now].map((each) => each.toISOString());
  const isInTime = thisUpdate <= addSeconds(now, OFFLINE_BACKDATE_SECONDS) && now < nextUpdate;
  ensure(isInTime, CODE, `the list is for ${from} to ${to}; it is ${is} on this machine`);
  const isShort = nextUpdate <= addSeconds(thisUpdate, MAX_LIST_SECONDS);
  ensure(
    isShort,
    CODE,
    `the list is for ${from} to ${to}, longer than 400 days: it cannot be taken back before`,
  );
}

interface Known {
  readonly before: Crl | undefined;
  /** When what this ceremony has signed ends, by serial. */
  readonly issued: ReadonlyMap<string, Date>;
  readonly now: Date;
}

/** RFC 5280 section 5.2.3 and 3.3: the number grows, and an entry stays until its certificate has ended. */
function ensureAfter(list: ListTbs, entries: readonly ReadCrlEntry[], known: Known): void {
  const { number, thisUpdate } = list;
  const { before, issued, now } = known;
  // A CA takes the seconds, or one more than before. After a greater number no list of a CA would be signed any more.
  const next = (before?.number ?? 0n) + 1n;
  let most = BigInt(thisUpdate.getTime() / 1000);
  if (next > most) most = next;
  const ahead = `the list has number ${numberText(number)}, and a CA takes at most ${numberText(most)} now`;
  ensure(number <= most, CODE, ahead);
  if (before === undefined) return;
  const older = `the list has number ${numberText(number)}, and ${numberText(before.number)} was signed before`;
  ensure(number > before.number, CODE, older);
  const listed = new Set(entries.map(({ serial }) => serial));
  for (const { serial } of crlEntries(before)) {
    const isOver = (issued.get(serial) ?? now) < now;
    const says = `the list leaves out certificate ${serial}, which the list before has and which has not ended`;
    ensure(isOver || listed.has(serial), CODE, says);
  }
}

/** So that names of files sort as numbers do. */
const numberText = (number: bigint): string => number.toString(16).padStart(24, '0');

function issuedBy(dir: string): ReadonlyMap<string, Date> {
  const found = new Map<string, Date>();
  const { issued } = filesOf(dir);
  for (const name of namesIn(issued).filter((each) => !each.startsWith('voucher-'))) {
    const [der = new Uint8Array()] = readPemOnly(textOf(join(issued, name)), 'CERTIFICATE', CODE);
    const { serial, notAfter } = parseCertificate(der);
    found.set(hex(serial), notAfter);
  }
  return found;
}

function newestIn(dir: string): Crl | undefined {
  const { lists } = filesOf(dir);
  const newest = namesIn(lists).toSorted().at(-1);
  if (newest === undefined) return undefined;
  const [der = new Uint8Array()] = readPemOnly(textOf(join(lists, newest)), CRL_LABEL, CODE);
  return parseCrl(der);
}

const namesIn = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);
const textOf = (path: string): string => utf8Text(readCarried(path), CODE);
