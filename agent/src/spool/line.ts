/** A record in a segment: `CRC-32 NUMBER JSON`, one line each. The codec of the spool's files. */
import { crc32 } from 'node:zlib';

/** Its line, as it is written. */
export function writeLine(number: number, json: string): string {
  const text = `${number} ${json}`;
  return `${sumOf(text)} ${text}\n`;
}

interface Line {
  /** The offset after it. */
  readonly end: number;
  /** Undefined for a line that is not as it was written. */
  readonly record: { readonly number: number; readonly json: string } | undefined;
}

/** The whole lines; a last one without its end is left out. */
export function* readLines(bytes: Buffer): Iterable<Line> {
  for (let from = 0, at = bytes.indexOf(NEWLINE); at >= 0; from = at + 1, at = bytes.indexOf(NEWLINE, from))
    yield { end: at + 1, record: recordOf(bytes.toString('utf8', from, at)) };
}
const NEWLINE = 0x0a;

function recordOf(line: string): Line['record'] {
  const [, sum, text = '', number, json = ''] = LINE.exec(line) ?? [];
  return sum === undefined || sum !== sumOf(text) ? undefined : { number: Number(number), json };
}
const LINE = /^([0-9a-f]{8}) (([1-9]\d{0,15}) (.*))$/s;

const sumOf = (text: string): string => crc32(text).toString(16).padStart(8, '0');
