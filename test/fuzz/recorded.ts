/** Genuine inputs that somebody signed: recorded by record.ts, and by a TPM (test/vectors/tpm). */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const RECORDED = join(import.meta.dirname, 'vectors/recorded.json');

export function recorded(name: string): Uint8Array {
  const text = (JSON.parse(readFileSync(RECORDED, 'utf8')) as Record<string, string>)[name];
  if (text === undefined) throw new Error(`record.ts has recorded no ${name}`);
  return Buffer.from(text, 'base64');
}

export const recordedKey = (name: string): KeyObject =>
  createPrivateKey({ key: Buffer.from(recorded(name)), format: 'der', type: 'pkcs8' });

/** One field, hexadecimal, of what a TPM said; or a list of PEM texts. */
export function tpmVector(file: string) {
  const path = join(import.meta.dirname, '../vectors/tpm', `${file}.json`);
  const vector = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  return {
    bytes: (field: string): Uint8Array => Buffer.from(String(vector[field]), 'hex'),
    pems: (field: string): readonly string[] => vector[field] as string[],
  };
}
