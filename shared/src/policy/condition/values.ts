/**
 * The arguments of a call as CEL sees them. Maps are views: nothing is copied, and no key of a caller means anything to
 * the engine (a plain object with `$typeName` would count as a message of protobuf).
 */
import type { CelInput, CelUint } from '@bufbuild/cel';
import { type ExactNumber, isJsonObject, type Json, type JsonObject, unspelled } from '../../ground/json.ts';
import { engine } from './engine.ts';
import { spend } from './work.ts';

/** Arguments with more are unknown to conditions. */
export const MAX_CHARACTERS = 64 * 1024;
export const MAX_VALUES = 2_000;

/** Counts no further than to a limit. */
export function isWithinLimits(given: JsonObject): boolean {
  let [characters, values] = [0, 0];
  const count = (value: Json): boolean => {
    values += 1;
    if (typeof value === 'string') characters += value.length;
    if (values > MAX_VALUES || characters > MAX_CHARACTERS) return false;
    if (Array.isArray(value)) return (value as readonly Json[]).every(count);
    if (!isJsonObject(value)) return true;
    for (const key of Object.keys(value)) {
      characters += key.length;
      if (!count(value[key] ?? null)) return false;
    }
    return true;
  };
  return count(given);
}

/**
 * A number is a double, as in CEL's own JSON. An integer that a double does not surely hold is an int of 64 bits, to be
 * compared exactly. Throws an Error for a number that is neither.
 */
export function celOf(value: Json): CelInput {
  const read = unspelled(value) ?? null;
  if (typeof read === 'number') return isLargeInteger(read) ? BigInt(read) : read;
  if (typeof read !== 'object' || read === null) return read;
  if (Array.isArray(read)) {
    spend(read.length);
    return engine().celList((read as readonly Json[]).map(celOf));
  }
  return isJsonObject(read)
    ? engine().celMap(new MapView(read))
    : exactInteger((read as ExactNumber).rawJSON);
}

const LIMIT = 2 ** 63;
const isLargeInteger = (value: number): boolean =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && value >= -LIMIT && value < LIMIT;

function exactInteger(text: string): bigint {
  const value = /^-?[0-9]{1,19}$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || BigInt.asIntN(64, value) !== value)
    throw new Error('a number is neither a double nor an integer of 64 bits');
  return value;
}

type Key = string | bigint | boolean | CelUint;

class MapView implements ReadonlyMap<Key, CelInput> {
  readonly #object: JsonObject;

  constructor(object: JsonObject) {
    this.#object = object;
  }

  get size(): number {
    return this.#keys().length;
  }

  get(key: Key): CelInput | undefined {
    spend(1);
    const value = typeof key === 'string' && Object.hasOwn(this.#object, key) ? this.#object[key] : undefined;
    return value === undefined ? undefined : celOf(value);
  }

  has(key: Key): boolean {
    return typeof key === 'string' && Object.hasOwn(this.#object, key);
  }

  keys(): MapIterator<string> {
    return this.#keys().values();
  }

  *values(): MapIterator<CelInput> {
    for (const [, value] of this.entries()) yield value;
  }

  *entries(): MapIterator<[string, CelInput]> {
    for (const key of this.#keys()) yield [key, celOf(this.#object[key] ?? null)];
  }

  [Symbol.iterator](): MapIterator<[string, CelInput]> {
    return this.entries();
  }

  forEach(tell: (value: CelInput, key: Key, map: ReadonlyMap<Key, CelInput>) => void): void {
    for (const [key, value] of this.entries()) tell(value, key, this);
  }

  #keys(): string[] {
    const keys = Object.keys(this.#object);
    spend(keys.length);
    return keys;
  }
}
