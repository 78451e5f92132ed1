/**
 * A CA above this one: it is asked to certify the key and the name of a root, and its chain is taken for peers that
 * trust only that CA. Agents trust what they trusted before.
 */
import { hash } from 'node:crypto';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { KEY_USAGE, readKeyUsage } from '@chancery/shared/x509/extensions.ts';
import { nameTextOf } from '@chancery/shared/x509/name-text.ts';
import type { Authorities } from '../authority/authorities.ts';
import { ensureKeyOf, isUnder, rootOf } from '../authority/records.ts';
import { writeRequestAbove } from '../ceremony/above.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { CrossStore } from '../store/request-store.ts';
import type { AuditIntake, AuthorityStore, StoredAuthority } from '../store/store.ts';
import { type CrossFile, isCross, readCross, rootAboveIn, rootFor, verifyCrossFile } from './file.ts';

export interface CrossDeps {
  readonly trustDomain: TrustDomain;
  readonly store: AuthorityStore & CrossStore & Pick<AuditIntake, 'append'>;
  readonly keys: Pick<KeyHomes, 'root'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly authorities: Pick<Authorities, 'refresh'>;
  /** Of an intermediate that this CA makes: what is issued now may live for so long. */
  readonly intermediateTtl: number;
  /** Those that the resources in force can put into a certificate. */
  readonly dnsNames: () => readonly string[];
}

export interface AskOrder {
  /** A serial, or its beginning; empty for the root that signs. */
  readonly root: string;
  readonly dryRun: boolean;
}

/** To be carried to the CA above. */
export interface AskedAbove {
  readonly root: string;
  /** Empty after a dry run. */
  readonly pem: string;
  /** Hexadecimal. */
  readonly keySha256: string;
}

export interface TakeOrder {
  /** The file with the chain, whole. */
  readonly answer: Uint8Array;
  /** The file with the root of the CA above; empty if none is given. */
  readonly rootAbove: Uint8Array;
  readonly dryRun: boolean;
}

/** What was taken. */
export interface ImportedCross {
  readonly kind: 'cross';
  /** Of the root. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly signs: false;
  readonly chain: readonly Certificate[];
  readonly warnings: readonly string[];
}

export type Cross = ReturnType<typeof openCross>;

/** Needs no closing. */
export const openCross = (deps: CrossDeps) => ({
  /** Throws rotation where no such root may come to sign or it is offline; what its home throws. */
  ask: (order: AskOrder, by: string) => ask(order, by, deps),
  /** Whether a file is for `take`. Throws store. */
  isFor: async (answer: Uint8Array) => isCross(answer, await deps.store.authorities()),
  /** Throws authority_answer, certificate_parse, store. */
  take: (order: TakeOrder, by: string) => take(order, by, deps),
});

async function ask({ root: wanted, dryRun }: AskOrder, by: string, deps: CrossDeps): Promise<AskedAbove> {
  const { store, keys, trustDomain } = deps;
  const root = named(wanted, await store.authorities());
  const away = `root ${root.serial} is offline: chancery-ca ceremony request, on the machine that has its key`;
  ensure(!isOffline(root), 'rotation', away);
  const certificate = parseCertificate(root.certificate);
  const asked = { root: root.serial, keySha256: hash('sha256', certificate.spki, 'hex') };
  if (dryRun) return { ...asked, pem: '' };
  const signer = await keys.root.load(root.key);
  ensureKeyOf(root, signer);
  await store.append({ type: 'authority.crossRequested', ...asked, by });
  return { ...asked, pem: await writeRequestAbove(signer, { certificate, trustDomain }) };
}

const MIN_DIGITS = 4;

/** Throws rotation. */
function named(wanted: string, records: readonly StoredAuthority[]): StoredAuthority {
  if (wanted === '') return rootOf(records);
  const found = records.filter(
    (each) => each.kind === 'root' && wanted.length >= MIN_DIGITS && each.serial.startsWith(wanted),
  );
  const [root, ...more] = found;
  const says = `no root begins with ${JSON.stringify(wanted)}: give its serial, or at least ${MIN_DIGITS} digits of it`;
  ensure(root !== undefined, 'rotation', says);
  ensure(more.length === 0, 'rotation', `${found.length} roots begin with ${wanted}: give more digits`);
  const mayCome = ['prepared', 'published', 'active'].includes(root.state);
  ensure(mayCome, 'rotation', `root ${root.serial} is ${root.state}: nothing is signed under it any more`);
  return root;
}

async function take(order: TakeOrder, by: string, deps: CrossDeps): Promise<ImportedCross> {
  const { store, clock, trustDomain, authorities } = deps;
  const [records, now] = [await store.authorities(), clock.now()];
  const file = readCross(order.answer);
  const root = rootFor(file.chain[0], records);
  const certificate = parseCertificate(root.certificate);
  const givenRoot = rootAboveIn(order.rootAbove);
  const judged = { trustDomain, dnsNames: deps.dnsNames(), root: certificate, givenRoot, now };
  verifyCrossFile(file, judged);
  const imported = importedOf(file, root, {
    now,
    records,
    deps,
    isWhole: (givenRoot ?? file.rootAbove) !== undefined,
  });
  if (order.dryRun) return imported;
  const chain = file.chain.map(({ der }) => der);
  const before = root.cross?.chain ?? [];
  const isSame =
    before.length === chain.length && before.every((der, n) => equal(der, chain[n] ?? der.subarray(1)));
  ensure(!isSame, 'authority_answer', `this chain of root ${root.serial} was imported before`);
  const draft = { root: root.serial, chain, after: root.cross?.sequence ?? root.crossLost ?? 0n };
  const saved = await store.saveCross(draft, {
    type: 'authority.crossCertified',
    root: root.serial,
    chain: file.chain.map((each) => ({
      issuer: nameTextOf(each).issuer,
      serial: hex(each.serial),
      sha256: hash('sha256', each.der, 'hex'),
    })),
    notAfter: imported.notAfter.toISOString(),
    by,
  });
  ensure(
    saved !== undefined,
    'authority_answer',
    'another process has changed the root meanwhile; try again',
  );
  await authorities.refresh();
  return imported;
}

interface About {
  readonly now: Date;
  readonly records: readonly StoredAuthority[];
  readonly deps: Pick<CrossDeps, 'intermediateTtl'>;
  /** Whether the last link was verified as well. */
  readonly isWhole: boolean;
}

function importedOf({ chain }: CrossFile, root: StoredAuthority, about: About): ImportedCross {
  const notBefore = new Date(Math.max(...chain.map((each) => each.notBefore.getTime())));
  const notAfter = new Date(Math.min(...chain.map((each) => each.notAfter.getTime())));
  const warnings = [
    ...lifeWarning(notAfter, root, about),
    ...(about.isWhole ? [] : [unverified(chain.at(-1) ?? chain[0])]),
    ...(readKeyUsage(chain[0], 'authority_answer')?.has(KEY_USAGE.crlSign) === false ? [NO_CRL_SIGN] : []),
  ];
  return { kind: 'cross', serial: root.serial, notBefore, notAfter, signs: false, chain, warnings };
}

/** Peers refuse what outlives the chain. */
function lifeWarning(
  notAfter: Date,
  root: StoredAuthority,
  { now, records, deps }: About,
): readonly string[] {
  const under = records.filter((each) => each.kind === 'intermediate' && isUnder(each, root));
  const ends = [addSeconds(now, deps.intermediateTtl), ...under.map((each) => each.notAfter)];
  const last = new Date(Math.max(...ends.map((end) => end.getTime())));
  if (notAfter >= last) return [];
  const says = `the chain ends at ${notAfter.toISOString()}, and what is signed under the root may live until`;
  return [`${says} ${last.toISOString()}: get the next one before that`];
}

const unverified = (top: Certificate): string =>
  `the last certificate is issued by ${nameTextOf(top).issuer}, and nothing here has verified that: give --root FILE`;

const NO_CRL_SIGN =
  'the cross-certificate has no cRLSign: peers that check revocation by it take no list (CRL) of the root';
