/** T27: statements that are no statements. Every byte counts, at every offset. */
import { concat, u8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { readCertify, readQuote } from '@chancery/shared/tpm/attest.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { type FakeTpm, type Forged, makeFakeTpm, sized, writeAttest } from '../../kit/tpm/fake-tpm.ts';
import {
  attestFake,
  attestorTrusting,
  expectRefusal,
  type FakeExchange,
} from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

const refusesParse = (exchange: FakeExchange, says: RegExp): Promise<void> => {
  const attempt = attestFake(attestorTrusting(tpm.manufacturer.rootPem), tpm, exchange);
  return expectRefusal(attempt, { status: 'I', code: 'attest_parse', says });
};

test.each<{ name: string; says: RegExp; quote: (q: Forged) => Forged }>([
  { name: 'T27 another magic', says: /begins with ff544348/, quote: (q) => ({ ...q, magic: 0xff544348 }) },
  { name: 'T27 safe is neither yes nor no', says: /safe is 2/, quote: (q) => ({ ...q, safe: 2 }) },
  {
    name: 'T27 trailing bytes',
    says: /quote has 1 trailing/,
    quote: (q) => ({ ...q, attested: concat(q.attested, u8(0)) }),
  },
  {
    name: 'T27 a signer longer than a name',
    says: /qualified signer is 67 bytes/,
    quote: (q) => ({ ...q, signer: new Uint8Array(67) }),
  },
  {
    name: 'T27 extra data longer than a hash',
    says: /extra data is 67 bytes/,
    quote: (q) => ({ ...q, extraData: new Uint8Array(67) }),
  },
])('$name', async ({ says, quote }) => {
  await refusesParse({ quote }, says);
});

test('T27 a certification with trailing bytes', async () => {
  const certify = (c: Forged): Forged => ({ ...c, attested: concat(c.attested, u8(0)) });
  await refusesParse({ tpmKey: true, certify }, /certify has 1 trailing/);
});

const head = { magic: 0xff544347, signer: new Uint8Array(34), extraData: new Uint8Array(32), clock: 1n };
const rest = { resetCount: 1, restartCount: 1, safe: 1 };
const selection = Buffer.from('00000001000b03ff0000', 'hex');
const quote = writeAttest({
  ...head,
  ...rest,
  type: 0x8018,
  attested: concat(selection, sized(new Uint8Array(32))),
});
const certify = writeAttest({
  ...head,
  ...rest,
  type: 0x8017,
  attested: concat(sized(new Uint8Array(34)), sized(new Uint8Array(34))),
});

describe.each([
  { kind: 'quote', bytes: quote, read: readQuote },
  { kind: 'certify', bytes: certify, read: readCertify },
])('T27 a $kind', ({ bytes, read }) => {
  test('reads whole', () => {
    expect(read(bytes).extraData).toEqual(Buffer.alloc(32));
  });

  test('cut at each byte, refuses as unreadable', () => {
    for (let length = 0; length < bytes.length; length++)
      expect(refusalOf(() => read(bytes.subarray(0, length)))).toBe('attest_parse');
  });

  test('with any 16 bits turned to their maximum, reads fully or refuses with a code', () => {
    for (let at = 0; at + 2 <= bytes.length; at++) {
      const spoiled = Uint8Array.from(bytes);
      spoiled.fill(0xff, at, at + 2);
      expect(['read', 'attest_parse', 'attest_type']).toContain(refusalOf(() => read(spoiled)));
    }
  });

  test('with each length field one more or one less, refuses as unreadable', () => {
    for (const at of lengthFields(bytes))
      for (const step of [-1, 1]) {
        const spoiled = Uint8Array.from(bytes);
        spoiled[at] = (spoiled[at] ?? 0) + step;
        expect({ at, step, refusal: refusalOf(() => read(spoiled)) }).toMatchObject({
          refusal: 'attest_parse',
        });
      }
  });
});

/** Offsets of the low byte of each TPM2B size, and of the selection's counts. */
function lengthFields(bytes: Uint8Array): readonly number[] {
  const attested = 4 + 2 + (2 + 34) + (2 + 32) + 17 + 8;
  return bytes === quote
    ? [7, 43, attested + 3, attested + 6, attested + 11]
    : [7, 43, attested + 1, attested + 37];
}

function refusalOf(read: () => unknown): string {
  try {
    read();
    return 'read';
  } catch (error) {
    if (isRefusal(error)) return error.code;
    throw error;
  }
}
