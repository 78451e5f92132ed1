/** What a CA has loaded of its config and of the files that this names, and what a restart would change of that. */
import { hash } from 'node:crypto';

/** By name; what can be compared, and shown where it is short. */
export interface Loaded {
  /** Path of each setting, as `limits.connections`, to its value in JSON, with defaults. */
  readonly settings: ReadonlyMap<string, string>;
  /** Path of each file, as the config has it, to the SHA-256 of its content, hexadecimal. */
  readonly files: ReadonlyMap<string, string>;
}

/** One setting or file that a restart would load as another. */
export interface Differing {
  readonly name: string;
  /** As the CA has it, and as it is in the file: JSON, a digest for a file, or undefined if it is not there. */
  readonly serves: string | undefined;
  readonly found: string | undefined;
}

/** The settings of a config that was read, without the path of the config itself. */
export function settingsIn({ file: _, ...settings }: { readonly file: string }): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string): void => {
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    const entries = isMap ? Object.entries(value).filter(([, each]) => each !== undefined) : [];
    if (entries.length === 0) found.set(path, JSON.stringify(value));
    for (const [key, each] of entries) walk(each, path === '' ? key : `${path}.${key}`);
  };
  walk(settings, '');
  return found;
}

/** Remembers what was read of files while the CA starts. */
export class FileReads {
  readonly #digests = new Map<string, string>();
  #hasStarted = false;

  /** The files, and what they had in them when the CA started. */
  get digests(): ReadonlyMap<string, string> {
    return this.#digests;
  }

  /** Reads by `read`. Throws what that throws. */
  reading(read: (path: string) => Uint8Array): (path: string) => Uint8Array {
    return (path) => {
      const bytes = read(path);
      if (!this.#hasStarted) this.#digests.set(path, hash('sha256', bytes, 'hex'));
      // What is read again while the CA serves needs no restart.
      else this.#digests.delete(path);
      return bytes;
    };
  }

  /** From now on the CA serves. */
  started(): void {
    this.#hasStarted = true;
  }
}

/** Settings by their names, then files that both have read: where only one of them names a file, a setting differs. */
export function differing(serves: Loaded, found: Loaded): readonly Differing[] {
  const of = (names: Iterable<string>, each: (loaded: Loaded) => ReadonlyMap<string, string>) =>
    [...names].toSorted().flatMap((name) => {
      const both = { name, serves: each(serves).get(name), found: each(found).get(name) };
      return both.serves === both.found ? [] : [both];
    });
  const settings = of(
    new Set([...serves.settings.keys(), ...found.settings.keys()]),
    (each) => each.settings,
  );
  const read = [...serves.files.keys()].filter((name) => found.files.has(name));
  return [...settings, ...of(read, (each) => each.files)];
}
