import { describe, expect, test } from 'vitest';
import { type Random, seeded } from '../../../test/kit/random.ts';
import { hex } from '../ground/bytes.ts';
import { readPem, writePem } from './pem.ts';
import { DerReader, TAG } from './read.ts';
import { ensureDer } from './walk.ts';
import * as der from './write.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');
const reader = (text: string): DerReader => new DerReader(bytes(text), 'der');
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'der', message: expect.stringMatching(message) });

describe('the reader refuses', () => {
  const anySequence = (input: DerReader) => input.sequence('it');
  const integer = (input: DerReader) => input.integer('it');
  const bits = (input: DerReader) => input.bitBytes('it');
  const time = (input: DerReader) => input.time('it');
  const oid = (input: DerReader) => input.oid('it');
  const utc = (text: string) => `170d${Buffer.from(text).toString('hex')}`;
  const generalized = (text: string) => `180f${Buffer.from(text).toString('hex')}`;

  test.each<[string, string, (input: DerReader) => unknown, RegExp]>([
    ['nothing', '', anySequence, /it is missing/],
    ['another tag', '0200', anySequence, /tag 0x2, not 0x30/],
    ['a tag without a length', '30', anySequence, /it ends early/],
    ['content that ends early', '300201', anySequence, /it ends early/],
    ['an indefinite length', '3080 0000', anySequence, /indefinite length/],
    ['a length of five bytes', '30850000000001 00', anySequence, /length of 5 bytes/],
    ['a long form for a short length', '308101 00', anySequence, /not minimal/],
    ['a long form with a leading zero', `30820080 ${'00'.repeat(128)}`, anySequence, /not minimal/],
    ['a length that ends early', '3082 01', anySequence, /it ends early/],
    ['an empty INTEGER', '0200', integer, /empty INTEGER/],
    ['an INTEGER padded with 00', '02020001', integer, /with padding/],
    ['an INTEGER padded with ff', '0202ff80', integer, /with padding/],
    [
      'a small INTEGER that is negative',
      '020180',
      (input) => input.smallInteger('it'),
      /not a small INTEGER/,
    ],
    ['a small INTEGER of 5 bytes', '02050100000000', (input) => input.smallInteger('it'), /not a small/],
    ['a BOOLEAN of another value', '010101', (input) => input.boolean('it'), /not a DER BOOLEAN/],
    ['a BOOLEAN of two bytes', '0102ffff', (input) => input.boolean('it'), /not a DER BOOLEAN/],
    ['a BIT STRING of nothing', '0300', bits, /without a count/],
    ['a BIT STRING with 8 unused bits', '03020800', bits, /without a count/],
    ['an empty BIT STRING with unused bits', '030101', bits, /empty BIT STRING/],
    ['unused bits that are set', '03020101', (input) => input.bitString('it'), /unused bits that are set/],
    ['a BIT STRING of half a byte', '030204f0', bits, /not whole bytes/],
    ['a NULL with content', '050100', (input) => input.null('it'), /NULL with content/],
    ['an empty OID', '0600', oid, /OID that ends early/],
    ['an OID that ends early', '060288 80'.replace(' ', ''), oid, /OID that ends early/],
    ['an OID with padding', '0603558001', oid, /OID with padding/],
    ['an OID with a huge number', `060b55${'ff'.repeat(9)}7f`, oid, /number too large/],
    [
      'a UTCTime without seconds',
      `170b${Buffer.from('2606011200Z').toString('hex')}`,
      time,
      /not a time as RFC 5280/,
    ],
    [
      'a UTCTime with an offset',
      `1711${Buffer.from('260601120000+0100').toString('hex')}`,
      time,
      /not a time as RFC 5280/,
    ],
    ['a UTCTime of 31 February', utc('260231120000Z'), time, /not a time as RFC 5280/],
    ['a UTCTime of 24 hours', utc('260601240000Z'), time, /not a time as RFC 5280/],
    ['a UTCTime of month 13', utc('261301120000Z'), time, /not a time as RFC 5280/],
    ['a GeneralizedTime of the year 10000', generalized(':0000101000000Z'), time, /not a time as RFC 5280/],
    ['a GeneralizedTime before 2050', generalized('20491231235959Z'), time, /not a time as RFC 5280/],
    [
      'a GeneralizedTime with a fraction',
      `1811${Buffer.from('20500101000000.5Z').toString('hex')}`,
      time,
      /not a time as RFC 5280/,
    ],
    [
      'a UTCTime as long as the other',
      `170f${Buffer.from('20500101000000Z').toString('hex')}`,
      time,
      /not a time as/,
    ],
    ['trailing bytes', '0500 00', (input) => [input.null('it'), input.done('it')], /1 trailing bytes/],
    ['nesting', '30'.repeat(20) && nested(17), deepest, /nested deeper than 16/],
  ])('%s', (_, input, read, message) => {
    expect(() => read(reader(input))).toThrow(refusal(message));
  });

  test('no nesting within its bound', () => {
    expect(() => deepest(reader(nested(16)))).not.toThrow();
  });

  function nested(depth: number): string {
    let out = der.sequence();
    for (let i = 1; i < depth; i += 1) out = der.sequence(out);
    return hex(out);
  }

  function deepest(input: DerReader): void {
    for (let at = input; at.tag !== undefined; ) at = at.sequence('it');
  }
});

describe('the walk refuses', () => {
  test.each([
    ['a BOOLEAN of 1', '3003 010101', /not a DER BOOLEAN/],
    ['a padded INTEGER', '3004 02020001', /with padding/],
    ['unused bits', '3004 03020101', /unused bits that are set/],
    ['a NULL with content', '3003 050100', /NULL with content/],
    ['a bent OID', '3005 0603558001', /OID with padding/],
    ['a bent UTCTime', `300f 170d${Buffer.from('260231120000Z').toString('hex')}`, /not a time as RFC 5280/],
    [
      'a GeneralizedTime of 2049',
      `3011 180f${Buffer.from('20491231235959Z').toString('hex')}`,
      /not a time as RFC 5280/,
    ],
    ['a tag of many bytes', '3003 1f8100', /tag of many bytes/],
    ['end-of-contents', '3002 0000', /end-of-contents tag/],
    ['an OCTET STRING in pieces', '3004 24020400', /tag 0x24 in the wrong form/],
    ['a primitive SEQUENCE', '3002 1000', /tag 0x10 in the wrong form/],
    ['an inner element that ends early', '3002 0401', /ends early/],
    ['trailing bytes', '3000 00', /1 trailing bytes/],
    ['nothing', '', /is missing/],
  ])('%s', (_, input, message) => {
    expect(() => ensureDer(bytes(input), 'der', 'it')).toThrow(refusal(message));
  });
});

describe('what is read', () => {
  test.each([
    ['2.5.29.17', '0603551d11'],
    ['1.2.840.113549.1.1.11', '06092a864886f70d01010b'],
    ['2.999.3', '0603883703'],
    ['0.9.2342.19200300.100.1.1', '060a0992268993f22c640101'],
  ])('OID %s', (text, encoded) => {
    expect(reader(encoded).oid('it')).toBe(text);
    expect(hex(der.oid(text))).toBe(encoded);
  });

  test.each(['1950-01-01T00:00:00Z', '2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z', '9999-12-31T23:59:59Z'])(
    'time %s',
    (text) => {
      const encoded = der.time(new Date(text));
      expect(new DerReader(encoded, 'der').time('it')).toEqual(new Date(text));
    },
  );

  test('BOOLEAN DEFAULT FALSE, left out or not', () => {
    expect(reader('').flag('it')).toBe(false);
    expect(reader('010100').flag('it')).toBe(false);
    expect(reader('0101ff').flag('it')).toBe(true);
  });

  test('an element whole, and an optional one', () => {
    expect(hex(reader('300105').element(TAG.sequence, 'it'))).toBe('300105');
    expect(reader('0500').optional(TAG.sequence, 'it')).toBeUndefined();
    expect(reader('3000').optional(TAG.sequence, 'it')?.tag).toBeUndefined();
  });

  test('integers', () => {
    expect(hex(der.unsignedInteger(Uint8Array.of(0, 0, 0x80)))).toBe('02020080');
    expect(hex(der.unsignedInteger(Uint8Array.of(0)))).toBe('020100');
    for (const value of [0, 127, 128, 255, 65537, 2 ** 31 - 1])
      expect(new DerReader(der.smallInteger(value), 'der').smallInteger('it')).toBe(value);
  });

  test('named bits, without trailing zeros', () => {
    expect(hex(der.namedBits(0))).toBe('03020780');
    expect(hex(der.namedBits(5, 6))).toBe('03020106');
    expect(hex(der.namedBits(0, 8))).toBe('0303078080');
  });
});

/** The law: what is read is written back byte for byte. */
describe('read, write, identical', () => {
  const SEED = 20260601;

  test('for generated trees', () => {
    const random = seeded(SEED);
    for (let i = 0; i < 2_000; i += 1) {
      const written = randomElement(random, 0);
      expect(() => ensureDer(written, 'der', 'it'), `seed ${SEED}, tree ${i}`).not.toThrow();
      expect(hex(rewrite(written)), `seed ${SEED}, tree ${i}`).toBe(hex(written));
    }
  });

  test('for those that are still DER after one byte is changed', () => {
    const random = seeded(SEED);
    let accepted = 0;
    for (let i = 0; i < 20_000; i += 1) {
      const bent = Uint8Array.from(randomElement(random, 0));
      bent[random.int(bent.length)] = random.int(256);
      if (!isDer(bent)) continue;
      accepted += 1;
      expect(hex(rewrite(bent)), `seed ${SEED}, tree ${i}`).toBe(hex(bent));
    }
    expect(accepted).toBeGreaterThan(1_000);
  });

  function isDer(input: Uint8Array): boolean {
    try {
      ensureDer(input, 'der', 'it');
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'der' });
      return false;
    }
  }

  /** Reads every value by its type and writes what was read, with the writer of that type. */
  function rewrite(input: Uint8Array): Uint8Array {
    const from = new DerReader(input, 'der');
    const { tag = 0 } = from;
    if ((tag & 0x20) !== 0) {
      const inner = from.enter(tag, 'it');
      const items: Uint8Array[] = [];
      while (inner.tag !== undefined) items.push(rewrite(next(inner)));
      return der.tlv(tag, ...items);
    }
    switch (tag) {
      case TAG.boolean:
        return der.boolean(from.boolean('it'));
      case TAG.oid:
        return der.oid(from.oid('it'));
      case TAG.utcTime:
      case TAG.generalizedTime:
        return der.time(from.time('it'));
      case TAG.bitString: {
        const { bytes: content, unused } = from.bitString('it');
        return der.tlv(tag, Uint8Array.of(unused), content);
      }
      default:
        return der.tlv(tag, from.content(tag, 'it'));
    }
  }

  function next(from: DerReader): Uint8Array {
    return from.element(from.tag ?? 0, 'it');
  }

  function randomElement(random: Random, depth: number): Uint8Array {
    const groups = [TAG.sequence, TAG.set, 0xa0, 0xa3] as const;
    if (depth < 5 && random.int(3) > 0) {
      const items = Array.from({ length: random.int(5) }, () => randomElement(random, depth + 1));
      return der.tlv(random.pick(groups), ...items);
    }
    return random.pick([
      () => der.boolean(random.int(2) === 1),
      () => der.unsignedInteger(random.bytes(1 + random.int(20))),
      () => der.octets(random.bytes(random.int(300))),
      () => der.bitBytes(random.bytes(random.int(40))),
      () => der.namedBits(random.int(9), random.int(9)),
      () => der.tlv(TAG.null),
      () => der.oid(`1.3.6.${random.int(2 ** 31)}.${random.int(200)}`),
      () => der.utf8String('é'.repeat(random.int(80))),
      () => der.implicit(random.int(9), random.bytes(random.int(20))),
      () => der.time(new Date(random.int(250_000) * 1_000_000_000)),
    ])();
  }
});

describe('PEM', () => {
  const one = writePem('THING', Buffer.alloc(100, 7));

  test('holds what was written, with comments around it', () => {
    expect(readPem(`a comment\n${one}\n${one.replaceAll('\n', '\r\n')}`, 'THING', 'der')).toEqual([
      Buffer.alloc(100, 7),
      Buffer.alloc(100, 7),
    ]);
  });

  test.each([
    ['no block', 'text', /no PEM block THING/],
    ['another label', one.replaceAll('THING', 'OTHER'), /is "OTHER", not THING/],
    ['another end', one.replace('END THING', 'END OTHER'), /ends as another/],
    ['no end', one.slice(0, 80), /block is damaged/],
    ['a second block without an end', one + one.slice(0, 80), /block is damaged/],
    ['characters outside base64', one.replace('BwcH', 'Bw*H'), /block is damaged/],
    ['padding inside', one.replace('BwcH', 'Bw=H'), /not base64/],
    ['nothing inside', '-----BEGIN THING-----\n-----END THING-----\n', /not base64/],
  ])('refuses %s', (_, text, message) => {
    expect(() => readPem(text, 'THING', 'der')).toThrow(refusal(message));
  });
});
