/**
 * A strict JSON reader (RFC 8259, narrowed) for what peers send. Duplicate keys, a BOM, bad UTF-8 and deep nesting
 * refuse: JSON.parse keeps the last of two equal keys, and two readers that differ on that are a way past a policy.
 * Escaped NULs and lone surrogates are legal (section 8.2) and read differently by different readers, so the caller
 * says where they may stand; JSON.stringify writes them back as the same escapes.
 *
 * Numbers. What is read is written again for the next reader, so no number may change on the way. One that a double
 * holds (its shortest decimal form has the same value) is a `number`; any other, such as a 64-bit row id, is kept as it
 * was written in an `ExactNumber`, which JSON.stringify writes back digit for digit. A reader that expects a `number`
 * must refuse it; no reader ever gets a rounded value.
 */
import { isUtf8 } from 'node:buffer';
import { asBuffer } from './bytes.ts';
import { ensure, IdentityError, isRefusal, type Refusal } from './errors.ts';

export type Json = null | boolean | number | string | ExactNumber | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** What `JSON.rawJSON` makes: frozen, without a prototype, told from an object by `JSON.isRawJSON` only. */
export interface ExactNumber {
  readonly rawJSON: string;
}

export interface JsonLimits {
  readonly code: Refusal;
  /** Of a key that comes twice, where that has a name of its own. */
  readonly duplicate?: Refusal;
  readonly maxBytes: number;
  readonly maxDepth: number;
  /** Of what is longer than a few 100 KB, on average: by default 16. */
  readonly bytesPerValue?: number;
  /** Where a string may hold an escaped NUL or a lone surrogate: by default nowhere. */
  readonly oddStrings?: 'values' | 'everywhere';
  /** From this depth on, a number that JavaScript writes in another way (`1.0`, `1e3`) is kept as it was written. */
  readonly spelledFrom?: number;
}

/** Throws `limits.code`. Keys keep their order, except integer-like ones, which JavaScript puts first. */
export function parseJson(bytes: Uint8Array, limits: JsonLimits): Json {
  const { code, maxBytes } = limits;
  ensure(bytes.length <= maxBytes, code, `${bytes.length} bytes of JSON, at most ${maxBytes} are read`);
  if (!isUtf8(bytes)) throw notJson(code, 'the JSON is not UTF-8');
  const maxValues = FREE_VALUES + bytes.length / (limits.bytesPerValue ?? BYTES_PER_VALUE);
  return new JsonReader(asBuffer(bytes).toString('utf8'), limits, maxValues).document();
}

/** True if `parseJson` refused the bytes because they are no JSON at all, not because they break a limit. */
export const isNotJson = (error: unknown): boolean => isRefusal(error) && error.cause instanceof SyntaxError;

const notJson = (code: Refusal, what: string): IdentityError =>
  new IdentityError(code, what, { cause: new SyntaxError(what) });

/** True for `{...}` as JSON has it: no array, no null, no exact number. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRaw(value);
}

/** What was kept for its spelling alone, as the number that it is. */
export function unspelled(value: Json | undefined): Json | undefined {
  return isRaw(value) && isDouble(value.rawJSON) ? Number(value.rawJSON) : value;
}

/** TypeScript's library does not know these yet (ECMA-262 proposal, in V8 since Node 21). */
const { rawJSON, isRawJSON: isRaw } = JSON as typeof JSON & {
  rawJSON(text: string): ExactNumber;
  isRawJSON(value: unknown): value is ExactNumber;
};

/** Whatever a JSON string holds as itself: not a quote, not a backslash, no control character (section 7). */
const PLAIN = /[ !#-[\]-\uffff]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** So short and without an exponent, a decimal always comes back from a double as it was (IEEE 754: 15 digits). */
const SURELY_EXACT = /^-?[0-9.]{1,15}$/;

/**
 * The most values, keys included, for a text of this length. A value takes up to 150 bytes of memory and up to a
 * microsecond, and its shortest text has two bytes. Short texts may be as dense as they like.
 */
const FREE_VALUES = 100_000;
const BYTES_PER_VALUE = 16;

const [TAB, NEWLINE, RETURN, BLANK] = [0x09, 0x0a, 0x0d, 0x20];

class JsonReader {
  readonly #text: string;
  readonly #limits: JsonLimits;
  #at = 0;
  #depth = 0;
  #valuesLeft: number;

  constructor(text: string, limits: JsonLimits, maxValues: number) {
    this.#text = text;
    this.#limits = limits;
    this.#valuesLeft = maxValues;
  }

  document(): Json {
    this.#space();
    const value = this.#value();
    this.#space();
    this.#need(this.#at === this.#text.length, 'something follows the JSON value');
    return value;
  }

  #value(): Json {
    this.#count();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return this.#string(this.#limits.oddStrings !== undefined);
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  /** A value, or a key: each costs memory of its own. */
  #count(): void {
    this.#valuesLeft -= 1;
    if (this.#valuesLeft < 0) this.#within(false, 'more values than the length of the JSON allows');
  }

  #enter(): void {
    this.#at += 1;
    this.#depth += 1;
    if (this.#depth > this.#limits.maxDepth)
      this.#within(false, `JSON nested more than ${this.#limits.maxDepth} deep`);
    this.#space();
  }

  #object(): JsonObject {
    const object: Record<string, Json> = {};
    this.#enter();
    if (!this.#skip('}')) {
      do this.#member(object);
      while (this.#skip(','));
      this.#need(this.#skip('}'), 'an object does not end');
    }
    this.#depth -= 1;
    return object;
  }

  #member(object: Record<string, Json>): void {
    this.#space();
    this.#need(this.#text[this.#at] === '"', 'a key is expected');
    this.#count();
    const key = this.#string(this.#limits.oddStrings === 'everywhere');
    if (Object.hasOwn(object, key)) {
      const { code, duplicate = code } = this.#limits;
      throw new IdentityError(duplicate, `the same key twice in one object, before offset ${this.#at}`);
    }
    this.#space();
    this.#need(this.#skip(':'), 'a colon is expected');
    this.#space();
    setOwn(object, key, this.#value());
    this.#space();
  }

  #array(): readonly Json[] {
    const items: Json[] = [];
    this.#enter();
    if (!this.#skip(']')) {
      do {
        this.#space();
        items.push(this.#value());
        this.#space();
      } while (this.#skip(','));
      this.#need(this.#skip(']'), 'an array does not end');
    }
    this.#depth -= 1;
    return items;
  }

  #string(mayBeOdd: boolean): string {
    const start = this.#at;
    this.#at += 1;
    this.#match(PLAIN);
    if (this.#skip('"')) return this.#text.slice(start + 1, this.#at - 1);
    // An escape is a backslash and one character; JSON.parse below decides which, and takes \u's four digits.
    while (this.#skip('\\')) {
      this.#at += 1;
      this.#match(PLAIN);
    }
    this.#need(this.#skip('"'), 'a string does not end, or holds a control character');
    const text = this.#unescape(this.#text.slice(start, this.#at));
    // A C string ends at NUL, and a lone surrogate has no UTF-8 form.
    this.#within(mayBeOdd || !text.includes('\0'), 'a string holds NUL');
    this.#within(mayBeOdd || text.isWellFormed(), 'a string holds a lone surrogate');
    return text;
  }

  #unescape(quoted: string): string {
    try {
      return JSON.parse(quoted);
    } catch (error) {
      throw new IdentityError(this.#limits.code, `a string before offset ${this.#at} has a bad escape`, {
        cause: error,
      });
    }
  }

  #number(): number | ExactNumber {
    const text = this.#match(NUMBER);
    this.#need(text !== '', 'a value is expected');
    const value = Number(text);
    const { spelledFrom = Number.POSITIVE_INFINITY } = this.#limits;
    if (this.#depth >= spelledFrom) return String(value) === text ? value : rawJSON(text);
    return SURELY_EXACT.test(text) || isDouble(text) ? value : rawJSON(text);
  }

  #word<T extends Json>(word: string, value: T): T {
    this.#need(this.#text.startsWith(word, this.#at), 'a value is expected');
    this.#at += word.length;
    return value;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== BLANK && code !== NEWLINE && code !== RETURN && code !== TAB) return;
      this.#at += 1;
    }
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): string {
    const start = this.#at;
    pattern.lastIndex = start;
    if (!pattern.test(this.#text)) return '';
    this.#at = pattern.lastIndex;
    return this.#text.slice(start, this.#at);
  }

  /** What the grammar demands. The text stays out of the message: it is the peer's, and this goes to a log. */
  #need(holds: boolean, what: string): asserts holds {
    if (!holds) throw notJson(this.#limits.code, `${what}, at offset ${this.#at}`);
  }

  /** What is demanded beyond the grammar. */
  #within(holds: boolean, what: string): asserts holds {
    ensure(holds, this.#limits.code, holds ? what : `${what}, at offset ${this.#at}`);
  }
}

/** An assignment to `__proto__` would change the object's prototype and hide the member. */
function setOwn(object: Record<string, Json>, key: string, value: Json): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value, ...OWN });
  else object[key] = value;
}

const OWN = { enumerable: true, writable: true, configurable: true };

const isDouble = (text: string): boolean => decimal(text) === decimal(String(Number(text)));

/** One spelling a value: sign, digits without zeros at either end, power of ten. `Infinity` has the one of zero. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  // Not by /0+$/, which looks at a run of zeros inside the number once for each of them.
  let end = digits.length;
  while (digits[end - 1] === '0') end -= 1;
  const significant = digits.slice(0, end);
  if (significant === '') return '0';
  const power = Number(exponent) - fraction.length + digits.length - significant.length;
  return `${sign}${significant}e${power}`;
}
