/** What a ceremony says of what it did, by which two people at two machines compare what they have. */
import { hash } from 'node:crypto';
import { readPemOnly } from '@chancery/shared/der/pem.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { CRL_REASON } from '@chancery/shared/x509/compose/crl.ts';
import { labelOf } from '../../ceremony/block.ts';
import type { ListPlan } from '../../ceremony/list.ts';
import { fingerprintOf } from '../../ceremony/request.ts';
import type { RootFile } from '../../ceremony/root.ts';
import type { SigningPlan } from '../../ceremony/sign.ts';
import type { Facts } from '../../ceremony/transcript.ts';
import type { VouchPlan } from '../../ceremony/voucher.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');
/** Of a whole file, as `sha256sum` prints it. */
const sumOf = (bytes: Uint8Array): string => hash('sha256', bytes, 'hex');

const DAY_MS = 86_400_000;
const lifetimeOf = (from: Date, until: Date): string => {
  const days = (until.getTime() - from.getTime()) / DAY_MS;
  return days < 2 ? `${Math.round(days * 24)} hours` : `${Math.round(days)} days`;
};

function rootFacts({ certificate, trustDomain, serial, algorithm }: RootFile, now: Date): Facts {
  return [
    ['time (this machine)', now.toISOString()],
    ['trust domain', trustDomain],
    ['root serial', serial],
    ['root algorithm', algorithm],
    ['root not before', certificate.notBefore.toISOString()],
    ['root not after', certificate.notAfter.toISOString()],
    ['root SHA-256', fingerprintOf(sha256(certificate.der))],
  ];
}

/** Of a root that was made. */
export const initFacts = (
  root: RootFile,
  { dir, keyEncryptionKey, now }: { dir: string; keyEncryptionKey: string; now: Date },
): Facts => [
  ...rootFacts(root, now),
  ['root lifetime', lifetimeOf(now, root.certificate.notAfter)],
  ['folder', dir],
  ['key-encryption key', keyEncryptionKey],
];

/** Of a certificate that was given out. */
export const exportFacts = (
  root: RootFile,
  { pem, output, now }: { pem: string; output: string | undefined; now: Date },
): Facts => [
  ...rootFacts(root, now),
  ['file', output ?? 'standard output'],
  ['file SHA-256', sumOf(utf8(pem))],
];

/** Of a request to a CA above; `pem` is undefined if it was not made. */
export const requestFacts = (
  root: RootFile,
  { pem, output, now }: { pem: string | undefined; output: string; now: Date },
): Facts => [
  ...rootFacts(root, now),
  ['asks for', 'a certificate by a CA above, with the name and the key of this root, path length 1'],
  ['root key SHA-256', fingerprintOf(sha256(root.certificate.spki))],
  ['file', output],
  ...(pem === undefined ? [] : [['file SHA-256', sumOf(utf8(pem))] as const]),
];

interface Asked {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly root: RootFile;
  readonly now: Date;
}

/** Of a request, and of what would be signed for it. */
export const planFacts = ({ request, serial, validity }: SigningPlan, asked: Asked): Facts => [
  ...rootFacts(asked.root, asked.now),
  ['request file', asked.path],
  ['request file SHA-256', sumOf(asked.bytes)],
  ['request asks for', `an intermediate of ${request.trustDomain}, path length 0`],
  ['request algorithm', request.algorithm],
  ['request key SHA-256', fingerprintOf(request.key.sha256)],
  ['serial', serial],
  ['not before', validity.notBefore.toISOString()],
  ['not after', validity.notAfter.toISOString()],
  ['lifetime', lifetimeOf(asked.now, validity.notAfter)],
];

/** Of another root, and of the word that would be given for it. */
export const voucherFacts = ({ next }: VouchPlan, asked: Asked): Facts => [
  ...rootFacts(asked.root, asked.now),
  ['request file', asked.path],
  ['request file SHA-256', sumOf(asked.bytes)],
  ['request asks for', `a voucher: all who trust this root then trust another one of ${next.trustDomain}`],
  ['other root serial', next.serial],
  ['other root algorithm', next.algorithm],
  ['other root not before', next.certificate.notBefore.toISOString()],
  ['other root not after', next.certificate.notAfter.toISOString()],
  ['other root SHA-256', fingerprintOf(sha256(next.certificate.der))],
];

/** Of a revocation list: each certificate that it names. */
export const listFacts = ({ list, entries }: ListPlan, asked: Asked): Facts => [
  ...rootFacts(asked.root, asked.now),
  ['request file', asked.path],
  ['request file SHA-256', sumOf(asked.bytes)],
  ['request asks for', `the revocation list of this root, with ${entries.length} certificates`],
  ['list number', list.number.toString(16)],
  ['list thisUpdate', list.thisUpdate.toISOString()],
  ['list nextUpdate', list.nextUpdate.toISOString()],
  ...entries.map(({ serial, revokedAt, reason }, n): Facts[number] => [
    `revoked ${n + 1}`,
    `${serial} since ${revokedAt.toISOString()}, ${reason === CRL_REASON.keyCompromise ? 'key stolen' : 'out of use'}`,
  ]),
];

/** `answer` is one block of PEM. */
export function answerFacts(answer: string, path: string): Facts {
  const [der = new Uint8Array()] = readPemOnly(answer, labelOf(utf8(answer)), 'internal');
  return [
    ['answer file', path],
    ['answer file SHA-256', sumOf(utf8(answer))],
    ['answer SHA-256', fingerprintOf(sha256(der))],
  ];
}
