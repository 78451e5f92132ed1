/**
 * Files with certificates of TPM manufacturers, as vendors publish them: one or more in PEM, or one in DER. An unusable
 * certificate is named, and skipped if the file has usable ones.
 */

import { readPem } from '@chancery/shared/der/pem.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import {
  type Certificate,
  parseManufacturerCertificate,
  publicKeyOf,
} from '@chancery/shared/x509/certificate.ts';
import { ensureAnchor, ensureIntermediate } from '@chancery/shared/x509/compose/profile.ts';
import { inFileOf } from '../attestor.ts';

export interface ManufacturerFiles {
  readonly kind: 'roots' | 'intermediates';
  readonly paths: readonly string[];
}

export interface ManufacturerDeps {
  readonly readFile: (path: string) => Uint8Array;
  readonly log: Log;
}

/** Throws config, with the file's name, if a file has no usable certificate. */
export function readManufacturers(
  { kind, paths }: ManufacturerFiles,
  deps: ManufacturerDeps,
): readonly Certificate[] {
  return paths.flatMap((path) => {
    const blocks = inFileOf({ ...deps, type: 'tpm' }, path, cutBlocks);
    const read = blocks.map((der) => judge(der, kind));
    const usable = read.flatMap(({ certificate }) => certificate ?? []);
    const [first] = read.flatMap(({ problem }) => problem ?? []);
    if (usable.length === 0) throw refusal(path, first ?? 'the file has no certificate');
    for (const [at, { problem }] of read.entries()) {
      if (problem === undefined) continue;
      const which = `certificate ${at + 1} of ${blocks.length}`;
      deps.log.warn({ file: path }, `attestors.tpm: ${path}: ${which} is skipped: ${problem}`);
    }
    return usable;
  });
}

interface Read {
  readonly certificate?: Certificate;
  readonly problem?: string;
}

/** Does not check the time: an expired root must not keep the CA from starting, and path.ts refuses it. */
function judge(der: Uint8Array, kind: ManufacturerFiles['kind']): Read {
  const rules = { manufacturers: true };
  try {
    const certificate = parseManufacturerCertificate(der);
    publicKeyOf(certificate);
    if (kind === 'roots') ensureAnchor(certificate, rules);
    else ensureIntermediate(certificate, rules);
    return { certificate };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { problem: error.message };
  }
}

const DER_SEQUENCE = 0x30;
/** What may follow the last block: white space, and lines of comment. */
const AFTER = /^(\s|#[^\n]*(\n|$))*$/;
const LABEL = 'CERTIFICATE';

/** A DER file is one certificate; trailing bytes make it invalid. */
function cutBlocks(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes[0] === DER_SEQUENCE) return [bytes];
  const text = asBuffer(bytes).toString('latin1');
  const blocks = readPem(text, LABEL, 'config');
  const end = text.lastIndexOf(`-----END ${LABEL}-----`) + `-----END ${LABEL}-----`.length;
  const left = text.slice(end).trim();
  ensure(AFTER.test(left), 'config', `${left.length} bytes follow the last certificate`);
  return blocks;
}

const refusal = (path: string, detail: string): IdentityError =>
  new IdentityError('config', `attestors.tpm: ${path}: ${detail}`);
