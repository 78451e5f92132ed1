/**
 * Legacy sessions (2025-11-25, "Session Management"). The server mints an id, we keep it and give the client one of our
 * own, bound to the client's SPIFFE ID: to anybody else it does not exist.
 */
import { randomUUID } from 'node:crypto';
import { ensure } from '@chancery/shared/errors.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';

export interface Session {
  readonly id: string;
  readonly caller: SpiffeId;
  /** Of the certificate that it was begun with, hexadecimal. */
  readonly serial: string;
  /** The upstream's own name for it. */
  readonly upstream: string;
  /** What the client asked and has no answer to yet, on whatever stream that comes. */
  readonly pending: Pending;
  /** Ids of the server's own requests that were passed to the client and wait for its answer. */
  readonly asked: Set<Id>;
  /** HTTP requests of it that are open. */
  open: number;
  lastUsed: number;
}

type Beginner = Pick<VerifiedSvid, 'id' | 'serial'>;

export type Pending = Map<Id, Asked>;

/** A request on its way. */
export interface Asked {
  readonly recordId: string;
  readonly method: string;
  readonly tool: string | undefined;
  /** `performance.now()`. */
  readonly startedMs: number;
}

/** More than any client has in flight. */
const MAX_PENDING = 1_000;
/** One caller cannot take the places of all others. */
const SHARE = 4;

export class Sessions {
  readonly #byId = new Map<string, Session>();
  readonly #max: number;
  readonly #onEvict: (session: Session) => void;
  #ticks = 0;

  constructor(max: number, onEvict: (session: Session) => void) {
    this.#max = max;
    this.#onEvict = onEvict;
  }

  /** Throws mcp_session, alike for an id that never was and for another caller's. */
  find(id: string, caller: SpiffeId): Session {
    const session = this.#byId.get(id);
    ensure(session !== undefined, 'mcp_session', 'no such session');
    ensure(session.caller === caller, 'mcp_session', `the session is not ${caller}'s`);
    session.lastUsed = this.#tick();
    return session;
  }

  /** Makes room for one more by ending the longest idle ones. Throws rate. Called before the server is asked. */
  ensureRoom(caller: SpiffeId): void {
    const own = [...this.#byId.values()].filter((session) => session.caller === caller);
    const share = Math.ceil(this.#max / SHARE);
    ensure(own.length < share || this.#evict(own), 'rate', `${caller} has ${share} sessions in use`);
    const full = this.#byId.size >= this.#max;
    ensure(!full || this.#evict([...this.#byId.values()]), 'rate', `all ${this.#max} sessions are in use`);
  }

  open({ id: caller, serial }: Beginner, upstream: string, pending: Pending): Session {
    const fresh = { asked: new Set<Id>(), open: 0, lastUsed: this.#tick() };
    const session = { id: randomUUID(), caller, serial, upstream, pending, ...fresh };
    this.#byId.set(session.id, session);
    return session;
  }

  close(session: Session): void {
    this.#byId.delete(session.id);
  }

  /** Ends those that are `over`, here and at the server: of whoever was cut off, nothing goes on. */
  end(over: (session: Session) => boolean): void {
    for (const session of [...this.#byId.values()].filter(over)) {
      this.close(session);
      this.#onEvict(session);
    }
  }

  #evict(among: readonly Session[]): boolean {
    const idle = among.filter((session) => session.open === 0);
    const [oldest] = idle.sort((a, b) => a.lastUsed - b.lastUsed);
    if (oldest === undefined) return false;
    this.close(oldest);
    this.#onEvict(oldest);
    return true;
  }

  #tick(): number {
    this.#ticks += 1;
    return this.#ticks;
  }
}

/**
 * Throws mcp_parse: two answers to one id could not be told apart. The oldest of too many is forgotten: its client has
 * left or has cancelled it long ago, for it cannot have that many open.
 */
export function addPending(pending: Pending, id: Id, asked: Asked): void {
  ensure(!pending.has(id), 'mcp_parse', 'a request with this id has no answer yet');
  const [oldest] = pending.keys();
  if (pending.size >= MAX_PENDING && oldest !== undefined) pending.delete(oldest);
  pending.set(id, asked);
}
