/** The file that a CA above gives: a chain, of which every part is verified before any of it counts. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type TrustDomain, trustDomainId } from '@chancery/shared/spiffe/id.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import { NAME } from '@chancery/shared/x509/names.ts';
import {
  isSelfSigned,
  MAX_CROSS_CHAIN,
  type NameBelow,
  verifyCross,
  WITHOUT_ROOT,
} from '@chancery/shared/x509/verify/cross.ts';
import { blocksOf, oneBlock } from '../ceremony/block.ts';
import type { StoredAuthority } from '../store/store.ts';

const CODE = 'authority_answer';
const LABEL = 'CERTIFICATE';

/** What was read of the file; nothing of it is verified. */
export interface CrossFile {
  /** The cross-certificate first. */
  readonly chain: readonly [Certificate, ...Certificate[]];
  /** The root of the CA above, if the file ends with it. */
  readonly rootAbove: Certificate | undefined;
}

/** Throws authority_answer, certificate_parse. */
export function readCross(bytes: Uint8Array): CrossFile {
  const blocks = blocksOf(bytes, LABEL, MAX_CROSS_CHAIN + 1, CODE);
  const [first, ...more] = blocks.map((der, n) => {
    const isLast = n > 0 && n === blocks.length - 1;
    return parsed(
      der,
      `certificate ${n + 1} of the file`,
      isLast ? `; if it is a root: ${WITHOUT_ROOT}` : '',
    );
  });
  ensure(first !== undefined, CODE, 'the file has no certificate');
  const last = more.at(-1);
  if (last !== undefined && isSelfSigned(last))
    return { chain: [first, ...more.slice(0, -1)], rootAbove: last };
  return { chain: [first, ...more], rootAbove: undefined };
}

const parsed = (der: Uint8Array, what: string, advice: string): Certificate => {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError(CODE, `${what}: ${error.message}${advice}`, { cause: error });
  }
};

/** The root of the CA above, in a file of its own; undefined for an empty one. Throws authority_answer. */
export function rootAboveIn(bytes: Uint8Array): Certificate | undefined {
  if (bytes.length === 0) return undefined;
  const root = parsed(oneBlock(bytes, LABEL, CODE), 'the certificate of --root', `; ${WITHOUT_ROOT}`);
  ensure(
    isSelfSigned(root),
    CODE,
    'the certificate of --root is not that of a root: another CA has issued it',
  );
  return root;
}

/** Whether a file is for a root and not an answer of one: by the key of its first certificate, or its length. */
export function isCross(bytes: Uint8Array, records: readonly StoredAuthority[]): boolean {
  try {
    const [first, ...more] = blocksOf(bytes, LABEL, Number.POSITIVE_INFINITY, CODE).map(parseCertificate);
    return more.length > 0 || (first !== undefined && rootOfKey(first, records) !== undefined);
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

const rootOfKey = ({ spki }: Certificate, records: readonly StoredAuthority[]): StoredAuthority | undefined =>
  records.find((each) => each.kind === 'root' && equal(parseCertificate(each.certificate).spki, spki));

/** The root that a cross-certificate is for: one that signs, or may come to sign. Throws authority_answer. */
export function rootFor(cross: Certificate, records: readonly StoredAuthority[]): StoredAuthority {
  const root = rootOfKey(cross, records);
  const order = 'a cross-certificate comes first in the file, then those above it';
  ensure(root !== undefined, CODE, `the first certificate is of no root of this CA: ${order}`);
  const mayCome = ['prepared', 'published', 'active'].includes(root.state) && root.taintedAt === undefined;
  const says = `the first certificate is of root ${root.serial}, which is ${root.taintedAt ? 'tainted' : root.state}`;
  ensure(mayCome, CODE, `${says}: nothing is signed under it any more`);
  return root;
}

export interface Judged {
  readonly trustDomain: TrustDomain;
  /** All that certificates under the root may have. */
  readonly dnsNames: readonly string[];
  readonly root: Certificate;
  /** By a file of its own; undefined if none was given. */
  readonly givenRoot: Certificate | undefined;
  readonly now: Date;
}

/** Throws authority_answer. */
export function verifyCrossFile({ chain, rootAbove }: CrossFile, judged: Judged): void {
  const { trustDomain, dnsNames, root, givenRoot, now } = judged;
  const isSameRoot =
    givenRoot === undefined || rootAbove === undefined || equal(givenRoot.der, rootAbove.der);
  ensure(isSameRoot, CODE, 'the root at the end of the file is not that of --root');
  const names = namesBelow(trustDomain, dnsNames);
  verifyCross({ chain, root, rootAbove: givenRoot ?? rootAbove, names, now, code: CODE });
}

/** What name constraints above must permit. */
function namesBelow(trustDomain: TrustDomain, dnsNames: readonly string[]): readonly NameBelow[] {
  const id = trustDomainId(trustDomain);
  const text = (value: string): Uint8Array => Buffer.from(value, 'latin1');
  return [
    { name: { kind: NAME.uri, value: text(id) }, says: `the SPIFFE ID of ${trustDomain} itself (URI ${id})` },
    {
      name: { kind: NAME.uri, value: text(`${id}/x`) },
      says: `SPIFFE IDs of ${trustDomain} (URI ${id}/...)`,
    },
    {
      name: { kind: NAME.directory, value: commonName('Chancery intermediate 0') },
      says: 'the subjects of intermediates (CN=Chancery intermediate ...)',
    },
    ...[...new Set(dnsNames)].map((name) => ({
      name: { kind: NAME.dns, value: text(name) },
      says: `the DNS name ${name}, which an Identity gives`,
    })),
  ];
}
