/** Changes that do not depend on the format of their input. */
import type { Random } from '../../kit/random.ts';

/** `other` is another input of the same target, to borrow from. */
export type Change = (input: Uint8Array, other: Uint8Array, random: Random) => Uint8Array;

const BYTES = [0, 1, 2, 0x20, 0x22, 0x30, 0x31, 0x39, 0x7f, 0x80, 0x81, 0x82, 0xa0, 0xfe, 0xff] as const;
const INTEGERS = [
  [0x00, 0x00],
  [0x00, 0x01],
  [0x7f, 0xff],
  [0x80, 0x00],
  [0xff, 0xff],
  [0x00, 0x00, 0x00, 0x00],
  [0x01, 0x00, 0x00, 0x00],
  [0x7f, 0xff, 0xff, 0xff],
  [0x80, 0x00, 0x00, 0x00],
  [0xff, 0xff, 0xff, 0xff],
  [0x00, 0x00, 0xff, 0xff],
  // As protocol buffers write numbers: 2^53, 2^63 - 1, -1.
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
] as const;

export const join = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

/** Start and end of a run, most often a short one. */
export function someRun({ length }: { readonly length: number }, random: Random): readonly [number, number] {
  if (length === 0) return [0, 0];
  const start = random.int(length);
  const most = random.int(4) === 0 ? length - start : Math.min(16, length - start);
  return [start, start + 1 + random.int(most)];
}

const copied = (input: Uint8Array, change: (out: Uint8Array) => void): Uint8Array => {
  const out = Uint8Array.from(input);
  change(out);
  return out;
};

const flipBit: Change = (input, _, random) =>
  copied(input, (out) => {
    const at = random.int(Math.max(1, out.length));
    out[at] = (out[at] ?? 0) ^ (1 << random.int(8));
  });

const setByte: Change = (input, _, random) =>
  copied(input, (out) => {
    out[random.int(Math.max(1, out.length))] = random.int(2) === 0 ? random.pick(BYTES) : random.int(256);
  });

/** Of a time, a version, an account: still one, and perhaps none that there is. */
const setDigit: Change = (input, _, random) =>
  copied(input, (out) => {
    const start = random.int(Math.max(1, out.length));
    const at = out.findIndex((byte, index) => index >= start && byte >= 0x30 && byte <= 0x39);
    if (at >= 0) out[at] = 0x30 + random.int(10);
  });

/** What is meant to be a length, or a count, is off by a little. */
const nudge: Change = (input, _, random) =>
  copied(input, (out) => {
    const at = random.int(Math.max(1, out.length));
    out[at] = (out[at] ?? 0) + random.pick([-2, -1, 1, 2]);
  });

const setInteger: Change = (input, _, random) =>
  copied(input, (out) => {
    const bytes = random.pick<readonly number[]>(INTEGERS);
    if (out.length >= bytes.length) out.set(bytes, random.int(out.length - bytes.length + 1));
  });

const insert: Change = (input, _, random) => {
  const at = random.int(input.length + 1);
  const how = random.int(3);
  const integer = Uint8Array.from(random.pick<readonly number[]>(INTEGERS));
  const bytes = [Uint8Array.of(random.pick(BYTES)), random.bytes(1 + random.int(8)), integer][how] ?? integer;
  return join(input.subarray(0, at), bytes, input.subarray(at));
};

const remove: Change = (input, _, random) => {
  const [start, end] = someRun(input, random);
  return join(input.subarray(0, start), input.subarray(end));
};

const truncate: Change = (input, _, random) => input.subarray(0, random.int(input.length + 1));

const repeat: Change = (input, _, random) => {
  const [start, end] = someRun(input, random);
  return join(input.subarray(0, end), input.subarray(start));
};

/** The beginning of one and the end of the other. */
const splice: Change = (input, other, random) =>
  join(input.subarray(0, random.int(input.length + 1)), other.subarray(random.int(other.length + 1)));

const borrow: Change = (input, other, random) => {
  const [start, end] = someRun(other, random);
  const at = random.int(input.length + 1);
  const over = random.int(2) === 0 ? at : Math.min(input.length, at + end - start);
  return join(input.subarray(0, at), other.subarray(start, end), input.subarray(over));
};

export const BLIND = [
  flipBit,
  setByte,
  setDigit,
  nudge,
  setInteger,
  insert,
  remove,
  truncate,
  repeat,
  splice,
  borrow,
] as const satisfies readonly Change[];

/** As long as may be, by saying one run again and again. */
export function grow(input: Uint8Array, maxBytes: number, random: Random): Uint8Array {
  const [start, end] = someRun(input, random);
  const run = input.subarray(start, end);
  const times = Math.floor((maxBytes - input.length) / Math.max(1, run.length));
  if (run.length === 0 || times <= 0) return input;
  return join(input.subarray(0, start), ...Array.from({ length: times }, () => run), input.subarray(start));
}
