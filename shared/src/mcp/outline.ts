/**
 * Finds which request an unreadable message belongs to. Its length has no bound, so only the ids are kept, and which
 * keys of JSON-RPC it has.
 */
import { asBuffer } from '../ground/bytes.ts';
import type { Id } from './message.ts';

/** One message, or one element of a batch. */
export interface Outline {
  /** More than one if the key is repeated: readers differ on which counts. */
  readonly ids: readonly Id[];
  /** It has `id`, which may be one that no answer can name. */
  readonly identified: boolean;
  /** It has `method`: a request or a notification. */
  readonly call: boolean;
  /** It has `result` or `error`, and `jsonrpc` or no other key but `id`. */
  readonly answer: boolean;
  /**
   * It has `jsonrpc`; or it is complete, and its `result` or `error` is an object. Anything else without `jsonrpc`
   * counts as a log line, such as `{"id":1,"error":"no row"}`.
   */
  readonly certain: boolean;
}

/** Longer than any key or id of a message. */
const MAX_TOKEN = 1_600;
const MAX_ID = 256;
/** Of a batch. */
const MAX_MESSAGES = 1_000;
const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const [OPEN, CLOSE, OPEN_LIST, CLOSE_LIST, SPACE] = [0x7b, 0x7d, 0x5b, 0x5d, 0x20];

/** Looks at the members of the outermost object, or of the objects in the outermost array, piece by piece. */
export class OutlineReader {
  readonly #outlines: (Outline & { readonly versioned: boolean })[] = [];
  /** The outermost object or array has ended, and something comes after it. */
  #closed = false;
  #followed = false;
  readonly #token: number[] = [];
  /** The depth at which the members of a message stand: 1, in a batch 2. */
  #level = 1;
  #depth = 0;
  #quoted = false;
  #escaped = false;
  #key = '';
  #keys = new Set<string>();
  /** A key that JSON-RPC does not know has come. */
  #foreign = false;
  #ids: Id[] = [];
  /** Objects in the value that is being read, and whether `result` or `error` was one. */
  #objects = 0;
  #answersByObject = false;

  /** The next bytes of the message, in pieces of any size. */
  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#quoted) this.#inString(byte);
      else this.#outside(byte);
    }
  }

  /** Also of a message that has no end. */
  finish(): readonly Outline[] {
    const whole = this.#depth === 0 && !this.#followed;
    this.#endMessage();
    return whole ? this.#outlines : this.#outlines.map((each) => ({ ...each, certain: each.versioned }));
  }

  #inString(byte: number): void {
    this.#keep(byte);
    if (this.#escaped) this.#escaped = false;
    else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) this.#quoted = false;
  }

  #outside(byte: number): void {
    if (this.#closed && byte > SPACE) this.#followed = true;
    if (byte === QUOTE) {
      this.#quoted = true;
      this.#keep(byte);
    } else if (byte === OPEN || byte === OPEN_LIST) {
      if (this.#depth === 0) this.#level = byte === OPEN ? 1 : 2;
      if (this.#depth === this.#level && byte === OPEN) this.#objects += 1;
      this.#depth += 1;
    } else if (byte === CLOSE || byte === CLOSE_LIST) {
      if (this.#depth === this.#level) this.#endMessage();
      this.#depth = Math.max(0, this.#depth - 1);
      this.#closed ||= this.#depth === 0;
    } else if (byte === COLON) this.#endKey();
    else if (byte === COMMA) this.#endValue();
    else if (byte > SPACE) this.#keep(byte);
  }

  #keep(byte: number): void {
    if (this.#depth === this.#level && this.#token.length < MAX_TOKEN) this.#token.push(byte);
  }

  #endKey(): void {
    if (this.#depth !== this.#level) return;
    const key = this.#take();
    this.#key = typeof key === 'string' ? key : '';
    // Only the names below are asked for, so the others need no place.
    if (KEYS.has(this.#key)) this.#keys.add(this.#key);
    else this.#foreign = true;
  }

  #endValue(): void {
    // Nothing is kept at other depths; this saves the attempt to read it.
    if (this.#depth !== this.#level) return;
    const isObject = this.#objects === 1 && this.#token.length === 0;
    this.#objects = 0;
    this.#answersByObject ||= isObject && (this.#key === 'result' || this.#key === 'error');
    const value = this.#take();
    const isId = typeof value === 'string' ? value.length <= MAX_ID : Number.isSafeInteger(value);
    if (this.#key === 'id' && isId && this.#ids.length < 2) this.#ids.push(value as Id);
    this.#key = '';
  }

  #endMessage(): void {
    this.#endValue();
    const keys = this.#keys;
    const identified = keys.has('id');
    const versioned = keys.has('jsonrpc');
    const named = versioned || (identified && !this.#foreign);
    const answer = named && (keys.has('result') || keys.has('error'));
    const certain = versioned || this.#answersByObject;
    const what = { ids: this.#ids, identified, call: keys.has('method'), answer, versioned, certain };
    if (keys.size > 0 && this.#outlines.length < MAX_MESSAGES) this.#outlines.push(what);
    this.#keys = new Set();
    this.#foreign = this.#answersByObject = false;
    this.#ids = [];
  }

  #take(): unknown {
    const text = Buffer.from(this.#token).toString('utf8');
    this.#token.length = 0;
    try {
      return JSON.parse(text);
    } catch {
      // Neither a name nor an id.
      return undefined;
    }
  }
}

const KEYS = new Set(['jsonrpc', 'id', 'method', 'result', 'error']);

/** The outlines of a body that could not be read; a batch has several. Never throws. */
export function outlinesOf(bytes: Uint8Array): readonly Outline[] {
  const reader = new OutlineReader();
  reader.push(asBuffer(bytes));
  return reader.finish();
}

/** The ids of the requests that are answered. */
export function answeredIn(outlines: readonly Outline[]): readonly Id[] {
  return outlines.flatMap((each) => (isAnswer(each) ? each.ids : []));
}

/** True if one of them is an answer without an id. */
export function answersNameless(outlines: readonly Outline[]): boolean {
  return outlines.some((each) => isAnswer(each) && each.ids.length === 0);
}

const isAnswer = ({ answer, certain, call }: Outline): boolean => answer && certain && !call;

/**
 * The id of a request, or of a message that may be one. Undefined for an id that no answer can name, such as null or a
 * fraction.
 */
export function askedIn(outlines: readonly Outline[]): readonly (Id | undefined)[] {
  const asking = outlines.filter(({ answer, call, identified }) => identified && (call || !answer));
  return asking.map(({ ids }) => ids.at(-1));
}
