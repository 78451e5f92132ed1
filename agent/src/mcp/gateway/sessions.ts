/**
 * Legacy sessions (2025-11-25, "Session Management"). The gateway keeps the server's session id and gives the client
 * one of its own, bound to the client's SPIFFE ID and scope: for any other caller the session does not exist.
 *
 * A session ends when its client, its server or a revocation ends it, or when it is idle for too long. It never gives
 * way to another session: its client would lose what the server keeps for it.
 */
import { randomUUID } from 'node:crypto';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { Filter, Listed } from '@chancery/shared/mcp/subscription.ts';
import type { What } from '@chancery/shared/policy/call.ts';
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { OpenSpan } from '../spans.ts';
import type { Counts, PlaceLimits } from './counts.ts';
import { type OpenUse, Questions } from './questions.ts';

export interface Session {
  readonly id: string;
  readonly caller: SpiffeId;
  /** The serial of the certificate that began it, hexadecimal. */
  readonly serial: string;
  /** What that certificate says. Its scope is that of the session. */
  readonly attested: Attested;
  /** The upstream's name for it. */
  readonly upstream: string;
  /** Requests of the client that have no answer yet, on any stream. */
  readonly pending: Pending;
  /** Requests of the server that were passed to the client and wait for its answer. */
  readonly questions: Questions;
  /** By the URI of the resource. The server has them until its client gives them up. */
  readonly subscribed: Map<string, Subscription>;
  /** The lists whose changes were promised to its client. */
  promised: ReadonlySet<Listed>;
  /** How many of its HTTP requests are open. */
  open: number;
  /** Ends each stream on which its client listens. */
  readonly streams: Set<() => void>;
  /** How many looks in a row found it unused. Looks are a part of the idle time apart. */
  idleLooks: number;
}

interface Subscription {
  /** False once the rules have ended it: it stays ended until its client subscribes again. */
  live: boolean;
  /** Frees its place. */
  readonly release: () => void;
}

type Beginner = Pick<VerifiedSvid, 'id' | 'serial' | 'attested'>;

export type Pending = Map<Id, PendingRequest>;

/** A request that has no answer yet. */
export interface PendingRequest extends OpenUse {
  readonly recordId: string;
  readonly requestId: Id;
  readonly method: string;
  /** What it asked for by name. */
  readonly what: What | undefined;
  /** Of the modern era, where its server may ask: what the state of its questions is bound to. */
  readonly round?: Round | undefined;
  /** `performance.now()`. */
  readonly startedMs: number;
  /** What a modern subscription was granted. */
  readonly listens?: Filter | undefined;
  /** Whether it is a call that is to be made as a task. */
  readonly makesTask?: boolean | undefined;
  /** The id of the task that it asks about. */
  readonly ofTask?: string | undefined;
  /** Undefined without telemetry. */
  readonly span?: OpenSpan | undefined;
  /** Its client has cancelled it. */
  cancelled?: true;
  /** Its end has been recorded. */
  ended?: true;
}

/** One of the rounds of a request in the modern era. */
export interface Round {
  /** How many times the server has asked before. */
  readonly count: number;
  readonly argumentsSha256: string;
}

export interface SessionLimits extends PlaceLimits {
  readonly idleSeconds: number;
}

export interface SessionsOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly counts: Counts;
  readonly limits: SessionLimits;
  readonly clock: Clock;
  readonly onBegin?: (session: Session) => void;
  /** Called once for each session, with the reason. `atServer` is false if the server has already ended it. */
  readonly onEnd: (session: Session, why: string, atServer: boolean) => void;
}

/** More than any client has open at once. */
const MAX_PENDING = 1_000;
/** An idle session ends after the idle time, at most a tenth later. A jump of the clock adds at most one look. */
const LOOKS = 10;

/** The legacy sessions of one gateway. It looks for idle ones until `stop`. */
export class Sessions {
  readonly #byId = new Map<string, Session>();
  /** Gives back the place of each. */
  readonly #places = new Map<Session, () => void>();
  readonly #options: SessionsOptions;
  readonly #stopped = new AbortController();
  #looking = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** How many are open. */
  get size(): number {
    return this.#byId.size;
  }

  /** Throws mcp_session, with no difference between an unknown id and that of another caller or scope. */
  find(id: string, { id: caller, attested: { scope } }: Pick<VerifiedSvid, 'id' | 'attested'>): Session {
    const session = this.#byId.get(id);
    ensure(session !== undefined, 'mcp_session', 'no such session');
    ensure(session.caller === caller, 'mcp_session', `the session is not ${caller}'s`);
    ensure(session.attested.scope === scope, 'mcp_session', 'the session is of another scope');
    session.idleLooks = 0;
    return session;
  }

  /** Throws mcp_session if it has ended. */
  ensureOpen(session: Session): void {
    ensure(this.#byId.get(session.id) === session, 'mcp_session', 'the session has ended');
  }

  /** Throws mcp_sessions. Called before the server is asked for a session, in the turn that reserves its place. */
  ensureRoom(caller: SpiffeId): void {
    const { server, counts, limits } = this.#options;
    counts.ensurePlace(server, caller, limits);
  }

  /**
   * Reserves a place until the server has answered. The returned function frees it, or hands it to the session that is
   * opened next.
   */
  reserve(caller: SpiffeId): () => void {
    const { server, counts } = this.#options;
    return counts.hold(server, caller);
  }

  /** Opens a session for the caller. `upstream` is the server's name for it. The id is random (UUID). */
  open({ id: caller, serial, attested }: Beginner, upstream: string, pending: Pending): Session {
    const session: Session = {
      ...{ id: randomUUID(), caller, serial, attested, upstream, pending },
      ...{ questions: new Questions(), streams: new Set<() => void>(), open: 0, idleLooks: 0 },
      ...{ subscribed: new Map<string, Subscription>(), promised: new Set<Listed>() },
    };
    this.#byId.set(session.id, session);
    this.#places.set(session, this.reserve(caller));
    this.#options.onBegin?.(session);
    void this.#look();
    return session;
  }

  /** Ends a session that the server has ended, or that the caller of this ends there. */
  close(session: Session, why: string): void {
    this.#remove(session, why, false);
  }

  /** Ends the sessions that are `over`, here and at the server. */
  end(over: (session: Session) => boolean, why: string, atServer = true): void {
    for (const session of [...this.#byId.values()].filter(over)) this.#remove(session, why, atServer);
  }

  /** Ends all sessions at the gateway; the server is not asked to end them. */
  stop(): void {
    this.#stopped.abort();
    this.end(() => true, 'the gateway stopped', false);
  }

  #remove(session: Session, why: string, atServer: boolean): void {
    if (!this.#byId.delete(session.id)) return;
    this.#places.get(session)?.();
    this.#places.delete(session);
    this.#options.onEnd(session, why, atServer);
    for (const end of session.streams) end();
    for (const uri of [...session.subscribed.keys()]) unsubscribe(session, uri);
  }

  /** Ends the subscriptions that are `over`, but at the server. */
  endSubscriptions(over: (session: Session, uri: string) => boolean): void {
    for (const session of this.#byId.values())
      for (const [uri, subscription] of session.subscribed)
        if (subscription.live && over(session, uri)) subscription.live = false;
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { clock, limits } = this.#options;
    try {
      while (this.#byId.size > 0) {
        await clock.sleepUntil(addSeconds(clock.now(), limits.idleSeconds / LOOKS), this.#stopped.signal);
        for (const session of this.#byId.values())
          session.idleLooks = session.open > 0 ? 0 : session.idleLooks + 1;
        this.end(({ idleLooks }) => idleLooks > LOOKS, `unused for ${limits.idleSeconds} s`);
      }
    } catch {
      // Stopped.
    }
    this.#looking = false;
  }
}

/** Notes that the session is subscribed to the resource. `take` takes its place, and returns what frees it. */
export function subscribe({ subscribed }: Session, uri: string, take: () => () => void): void {
  const known = subscribed.get(uri);
  if (known === undefined) subscribed.set(uri, { live: true, release: take() });
  else known.live = true;
}

/** Forgets that the session is subscribed to the resource. */
export function unsubscribe({ subscribed }: Session, uri: string): void {
  subscribed.get(uri)?.release();
  subscribed.delete(uri);
}

/** The resources that the session hears of. */
export const liveUris = (session: Session | undefined): readonly string[] =>
  [...(session?.subscribed ?? [])].flatMap(([uri, { live }]) => (live ? [uri] : []));

/**
 * Throws mcp_parse if the id is in use: two answers to one id could not be told apart. Called before the request is
 * recorded.
 */
export function ensureNew(pending: Pending, id: Id): void {
  ensure(!pending.has(id), 'mcp_parse', 'a request with this id has no answer yet');
}

/**
 * Adds a request. If there are too many, forgets and returns the oldest: no client has that many open, so it was left
 * or cancelled long ago.
 */
export function addPending(pending: Pending, asked: PendingRequest): PendingRequest | undefined {
  const [oldest] = pending.values();
  const forgotten = pending.size >= MAX_PENDING ? oldest : undefined;
  if (forgotten !== undefined) pending.delete(forgotten.requestId);
  pending.set(asked.requestId, asked);
  return forgotten;
}
