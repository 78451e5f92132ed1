import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { digestOf, MAX_CLAIM_BYTES, readClaimed, readClaims, writeClaimed, writeClaims } from './claims.ts';

const secret = (byte: number): Uint8Array => Buffer.alloc(32, byte);
const bytes = (text: string): Uint8Array => Buffer.from(text);
const listed = (...secrets: unknown[]): Uint8Array => bytes(JSON.stringify({ secrets }));
const genuine = Buffer.from(secret(1)).toString('base64url');

describe('claims', () => {
  test('are read as they were written, in their order', () => {
    const secrets = [secret(1), secret(255)];
    expect(readClaims(bytes(writeClaims(secrets)))).toEqual(secrets);
    expect(readClaims(bytes(writeClaims([])))).toEqual([]);
  });

  test('of as many secrets as a connect has connections fit into a body', () => {
    const written = bytes(writeClaims(Array.from({ length: 256 }, (_, n) => secret(n))));
    expect(written.length).toBeLessThanOrEqual(MAX_CLAIM_BYTES);
    expect(readClaims(written)).toHaveLength(256);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['no JSON', bytes('{'), /./],
    ['a list', bytes(JSON.stringify([genuine])), /^no list of secrets$/],
    ['no secrets', bytes('{}'), /^no list of secrets$/],
    ['another type', bytes('{"secrets":"x"}'), /^no list of secrets$/],
    ['257 secrets', listed(...Array(257).fill(genuine)), /^no list of secrets$/],
    ['a secret that is short', listed(genuine.slice(1)), /^a secret is not 32 bytes in base64url$/],
    ['a secret that is long', listed(`${genuine}A`), /^a secret is not 32 bytes in base64url$/],
    ['a secret with padding', listed(`${genuine}=`), /^a secret is not 32 bytes in base64url$/],
    ['a secret in base64', listed(`+${genuine.slice(1)}`), /^a secret is not 32 bytes in base64url$/],
    ['a secret that is a number', listed(genuine, 7), /^a secret is not 32 bytes in base64url$/],
    ['too many bytes', bytes(`${' '.repeat(MAX_CLAIM_BYTES)}{"secrets":[]}`), /./],
    ['too much depth', bytes('{"secrets":[],"a":[[[[]]]]}'), /./],
  ])('are refused with %s', (_name, body, says) => {
    expect(() => readClaims(body)).toThrow(refusal('mcp_parse', says));
  });
});

test('the verdict on each claim is read as it was written, and what is not true is no', () => {
  expect(readClaimed(bytes(writeClaimed([true, false])))).toEqual([true, false]);
  expect(readClaimed(bytes('{"claimed":[1,"true",null,true]}'))).toEqual([false, false, false, true]);
  expect(() => readClaimed(bytes('{"secrets":[]}'))).toThrow(refusal('mcp_parse', /^no list of claimed$/));
});

/** FIPS 180-2, appendix B.1. */
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
test('a digest is SHA-256', () => {
  expect(Buffer.from(digestOf(bytes('abc'))).toString('hex')).toBe(ABC);
});
