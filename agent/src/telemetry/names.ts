/**
 * Names that may become part of a metric. A caller invents tool names without an end, so a name counts only once its
 * server has had a success with it, and each server has room for so many.
 */

const MAX_NAMES = 200;
const MAX_LENGTH = 128;

/** Learns the names of each server's tools and prompts. */
export class KnownNames {
  readonly #byServer = new Map<string, Set<string>>();

  /** The name, once it is known; undefined for all others. */
  of(server: string, name: string | undefined, succeeded: boolean): string | undefined {
    if (name === undefined || name.length > MAX_LENGTH) return undefined;
    const known = this.#byServer.get(server) ?? new Set();
    if (known.has(name)) return name;
    if (!succeeded || known.size >= MAX_NAMES) return undefined;
    this.#byServer.set(server, known.add(name));
    return name;
  }
}
