/**
 * The contents of UTCTime and GeneralizedTime as RFC 5280 §4.1.2.5 narrows them: whole seconds, Zulu. UTCTime is for
 * 1950 to 2049 and GeneralizedTime for what is later, up to 99991231235959Z, which says "no end" (§4.1.2.5).
 */
import { asBuffer } from '../bytes.ts';
import { ensure, type Refusal } from '../errors.ts';

const UTC = /^\d{12}Z$/;
const GENERALIZED = /^\d{14}Z$/;
const ZERO = 0x30;

export function readTime(content: Uint8Array, generalized: boolean, code: Refusal, what: string): Date {
  const text = asBuffer(content).toString('latin1');
  ensure((generalized ? GENERALIZED : UTC).test(text), code, `${what} is not a time in the form of RFC 5280`);
  const full = generalized ? text : (Number(text.slice(0, 2)) < 50 ? '20' : '19') + text;
  ensure(!generalized || full >= '2050', code, `${what} is before 2050 and not a UTCTime`);
  const iso = full.replace(/(....)(..)(..)(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6.000Z');
  const time = new Date(iso);
  // Date reads 31 February as 3 March, and 24:00:00 as the next day.
  ensure(!Number.isNaN(time.getTime()) && time.toISOString() === iso, code, `${what} is not a date`);
  return time;
}

/** Writes tag, length and content at `at`; returns where it ends. Fractions of a second are cut off. */
export function writeTimeAt(out: Uint8Array, at: number, time: Date): number {
  const year = time.getUTCFullYear();
  const generalized = year >= 2050;
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
export const timeSize = (time: Date): number => (time.getUTCFullYear() >= 2050 ? 17 : 15);

function twoDigits(out: Uint8Array, at: number, value: number): number {
  out[at] = ZERO + Math.floor(value / 10);
  out[at + 1] = ZERO + (value % 10);
  return at + 2;
}
