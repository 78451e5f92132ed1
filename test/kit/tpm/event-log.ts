/** Writes event logs in TCG's crypto-agile format, and computes what they extend to. */
import { hash } from 'node:crypto';
import { concat, utf8 } from '@chancery/shared/ground/bytes.ts';

export interface TestEvent {
  readonly pcr: number;
  readonly type: number;
  readonly digest: Uint8Array;
  readonly data: Uint8Array;
}

export const EV = { noAction: 3, separator: 4, ipl: 0x0d, gpt: 0x8000_0006 } as const;

const SHA256 = 0x0b;
const SHA1 = 0x04;

/** An event whose digest is that of its data. */
export function event(pcr: number, type: number, text: string): TestEvent {
  const data = utf8(text);
  return { pcr, type, data, digest: hash('sha256', data, 'buffer') };
}

export const startup = (locality: number): TestEvent => ({
  pcr: 0,
  type: EV.noAction,
  digest: new Uint8Array(32),
  data: concat(utf8('StartupLocality\0'), Uint8Array.of(locality)),
});

export function le16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

export function le32(value: number): Uint8Array {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

/** SHA-1 and SHA-256 banks, as most firmware has them. */
export function header(
  algorithms: readonly (readonly [number, number])[] = [
    [SHA1, 20],
    [SHA256, 32],
  ],
): Uint8Array {
  const listed = algorithms.map(([algorithm, size]) => concat(le16(algorithm), le16(size)));
  const version = Uint8Array.of(0, 0, 0, 0, 0, 2, 0, 2);
  const spec = concat(utf8('Spec ID Event03\0'), version, le32(listed.length), ...listed, Uint8Array.of(0));
  return concat(le32(0), le32(EV.noAction), new Uint8Array(20), le32(spec.length), spec);
}

export function writeEvent({ pcr, type, digest, data }: TestEvent): Uint8Array {
  const digests = concat(le32(2), le16(SHA1), new Uint8Array(20), le16(SHA256), digest);
  return concat(le32(pcr), le32(type), digests, le32(data.length), data);
}

export function writeEventLog(events: readonly TestEvent[]): Uint8Array {
  return concat(header(), ...events.map(writeEvent));
}

/** The PCRs 0 to 7 after `events`, from zero, or PCR 0 from `locality`. */
export function extended(events: readonly TestEvent[], locality = 0): readonly Uint8Array[] {
  const values = Array.from({ length: 8 }, (_, i) => {
    const value = new Uint8Array(32);
    if (i === 0) value[31] = locality;
    return value;
  });
  for (const { pcr, type, digest } of events) {
    const before = values[pcr];
    if (type !== EV.noAction && before !== undefined)
      values[pcr] = hash('sha256', concat(before, digest), 'buffer');
  }
  return values;
}
