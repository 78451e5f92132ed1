/** Recorded statements of a real TPM: good-… is accepted, wrong-… is refused for the reason in its name. */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readPem } from '../der/pem.ts';
import { isRefusal } from '../ground/errors.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { TCG_PROFILE, verifyEndorsement } from './endorsement.ts';
import { readPublicArea } from './public-area.ts';
import { speakerOf, verifyCertify, verifyQuote } from './statements.ts';
import { AK, EK_P384, EK_RSA_2048, TPM_KEY } from './templates.ts';

const DIR = join(import.meta.dirname, '../../../test/vectors/tpm');
const { sha256 } = read('manifest.json') as unknown as { sha256: Record<string, string> };

interface Vector {
  readonly kind: 'endorsement' | 'quote' | 'certify';
  readonly code?: string;
  readonly [field: string]: unknown;
}

function read(file: string): Vector {
  return JSON.parse(readFileSync(join(DIR, file), 'utf8'));
}

const bytes = (vector: Vector, field: string): Uint8Array => Buffer.from(String(vector[field]), 'hex');
const statementOf = (vector: Vector) => ({
  attest: bytes(vector, 'attest'),
  signature: bytes(vector, 'signature'),
});
const NOW = new Date('2026-12-01T00:00:00Z');

const CHECKS: Record<Vector['kind'], (vector: Vector) => void> = {
  endorsement(vector) {
    const area = bytes(vector, 'area');
    const template = area[1] === 1 ? EK_RSA_2048 : EK_P384;
    const certificates = (pems: unknown) =>
      (pems as string[]).flatMap((pem) => readPem(pem, 'CERTIFICATE', 'config')).map(parseCertificate);
    const trust = {
      anchors: certificates(vector['roots']),
      intermediates: certificates(vector['intermediates']),
    };
    const ek = readPublicArea(area, template, 'ek_parse');
    const claimed = { certificate: bytes(vector, 'certificate'), chain: new Uint8Array(), area: ek };
    const { id, attributes: device } = verifyEndorsement(claimed, { ...trust, profile: TCG_PROFILE }, NOW);
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(device).toEqual({ manufacturer: 'id:00001014', model: 'swtpm', version: 'id:20191023' });
  },
  quote(vector) {
    const speaker = speakerOf(
      readPublicArea(bytes(vector, 'ak'), AK, 'ak_template'),
      bytes(vector, 'binding'),
    );
    const { pcrs, clock } = verifyQuote(statementOf(vector), bytes(vector, 'values'), [0, 7], speaker);
    expect([...pcrs]).toEqual([0, 7].map((index) => [index, Buffer.alloc(32)]));
    expect(clock.resetCount).toBeGreaterThan(0);
  },
  certify(vector) {
    const speaker = speakerOf(
      readPublicArea(bytes(vector, 'ak'), AK, 'ak_template'),
      bytes(vector, 'binding'),
    );
    verifyCertify(
      statementOf(vector),
      readPublicArea(bytes(vector, 'key'), TPM_KEY, 'key_attributes'),
      speaker,
    );
  },
};

function outcomeOf(vector: Vector): string | undefined {
  try {
    CHECKS[vector.kind](vector);
    return undefined;
  } catch (error) {
    if (isRefusal(error)) return error.code;
    throw error;
  }
}

const names = Object.keys(sha256);

test.each(names)('%s', (name) => {
  const vector = read(name);
  expect(outcomeOf(vector)).toBe(vector.code);
  expect(name.startsWith('good-')).toBe(vector.code === undefined);
});

test('the manifest lists every file, unchanged', () => {
  expect(readdirSync(DIR).sort()).toEqual([...names, 'manifest.json'].sort());
  for (const name of names) expect(hash('sha256', readFileSync(join(DIR, name)))).toBe(sha256[name]);
});

describe.each(['good-quote.json', 'good-certify.json'])('%s', (name) => {
  const good = read(name);

  test('is refused if one bit of any byte of the statement is changed', () => {
    const attest = bytes(good, 'attest');
    for (let at = 0; at < attest.length; at++) {
      const spoiled = Uint8Array.from(attest, (byte, i) => (i === at ? byte ^ (1 << (at & 7)) : byte));
      expect(outcomeOf({ ...good, attest: Buffer.from(spoiled).toString('hex') })).toBeTypeOf('string');
    }
  });

  test('is refused if one bit of any byte of the signature is changed', () => {
    const signature = bytes(good, 'signature');
    for (let at = 0; at < signature.length; at++) {
      const spoiled = Uint8Array.from(signature, (byte, i) => (i === at ? byte ^ 1 : byte));
      const outcome = outcomeOf({ ...good, signature: Buffer.from(spoiled).toString('hex') });
      expect(['sig_alg', 'sig_invalid']).toContain(outcome);
    }
  });
});
