/**
 * UTCTime and GeneralizedTime as RFC 5280 §4.1.2.5 narrows them: whole seconds, UTC. UTCTime is for 1950 to 2049,
 * GeneralizedTime for later years up to 99991231235959Z, which means "no end".
 */
import { equal } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';

const ZERO = 0x30;

/**
 * `rfc5280` is the one form that §4.1.2.5 allows. Some manufacturers of TPMs (AMD, Alibaba) write GeneralizedTime also
 * for years before 2050; `any-year` accepts that. All else is the same.
 */
export type TimeForm = 'rfc5280' | 'any-year';

/**
 * Parses `element` (tag, length and content), writes the time again and compares the bytes. So it refuses other forms,
 * the wrong type for the year, and dates such as 31 February. Bytes that are not digits could give the year 10000, so
 * the year is checked as well.
 */
export function readTime(element: Uint8Array, code: Refusal, what: string, form: TimeForm = 'rfc5280'): Date {
  const digits = element.subarray(2);
  const long = digits.length === 15;
  const two = (at: number): number => ((digits[at] ?? 0) - ZERO) * 10 + (digits[at + 1] ?? 0) - ZERO;
  const year = long ? two(0) * 100 + two(2) : two(0) + (two(0) < 50 ? 2000 : 1900);
  const at = long ? 4 : 2;
  const time = new Date(Date.UTC(year, two(at) - 1, two(at + 2), two(at + 4), two(at + 6), two(at + 8)));
  const again = new Uint8Array(element.length);
  writeForm(again, 0, time, isGeneralized(time) || (long && form === 'any-year'));
  const written = equal(again, element) && time.getUTCFullYear() <= 9999;
  ensure(written, code, `${what} is not a time as RFC 5280 writes it`);
  return time;
}

/** Writes tag, length and content at `at`; returns the offset after them. Fractions of a second are cut off. */
export function writeTimeAt(out: Uint8Array, at: number, time: Date): number {
  return writeForm(out, at, time, isGeneralized(time));
}

const isGeneralized = (time: Date): boolean => time.getUTCFullYear() >= 2050;

function writeForm(out: Uint8Array, at: number, time: Date, generalized: boolean): number {
  const year = time.getUTCFullYear();
  out[at] = generalized ? 0x18 : 0x17;
  out[at + 1] = generalized ? 15 : 13;
  let end = at + 2;
  if (generalized) end = twoDigits(out, end, Math.floor(year / 100));
  end = twoDigits(out, end, year % 100);
  end = twoDigits(out, end, time.getUTCMonth() + 1);
  end = twoDigits(out, end, time.getUTCDate());
  end = twoDigits(out, end, time.getUTCHours());
  end = twoDigits(out, end, time.getUTCMinutes());
  end = twoDigits(out, end, time.getUTCSeconds());
  out[end] = 0x5a;
  return end + 1;
}

/** How many bytes `writeTimeAt` writes. */
export const timeSize = (time: Date): number => (isGeneralized(time) ? 17 : 15);

function twoDigits(out: Uint8Array, at: number, value: number): number {
  out[at] = ZERO + Math.floor(value / 10);
  out[at + 1] = ZERO + (value % 10);
  return at + 2;
}
