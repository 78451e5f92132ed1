/**
 * Claims open calls after a renewal of our certificate or the gateway's, over a connection made with the current
 * certificates. Gateway and client continue the calls that the gateway confirms. A connection lasts until the newest
 * certificate with which its gateway confirmed the call ends, and no longer.
 */
import type { TLSSocket } from 'node:tls';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { MAX_CLAIMS, secretOf } from '../wire/claims.ts';

/** An open connection to a gateway. */
export interface Link {
  readonly secret: Uint8Array;
  /** The gateway's certificates that this connection is good for, the one of its handshake first. */
  readonly gateways: VerifiedSvid[];
  /** Our certificate that the gateway holds this connection by. */
  own: Svid;
  until: Date;
  /** A claim is planned for when its gateway should have renewed. */
  planned: boolean;
  /** Ends it after its current request: it takes no more requests. */
  readonly retire: () => void;
  /** Aborted when the connection is closed. */
  readonly closed: AbortSignal;
}

/** Connections of all routes. */
export type Links = Map<TLSSocket, Link>;

/** Which calls continue, and by which certificates. */
export interface Answer {
  readonly claimed: readonly boolean[];
  readonly gateway: VerifiedSvid;
  readonly own: Svid;
  /** Ends the connection of this claim, so that the next claim makes a new one. */
  leave(): void;
}

export interface ClaimsOptions {
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Log;
  readonly closed: AbortSignal;
  readonly svid: Source<Svid>;
  /** The gateway that new connections lead to. Throws unavailable before there is a policy. */
  readonly gateway: () => SpiffeId | undefined;
  /** Asks a gateway of this identity, until the signal. */
  readonly ask: (identity: SpiffeId, secrets: readonly Uint8Array[], signal: AbortSignal) => Promise<Answer>;
}

/** The CA answers us first, and tells gateways of the renewal right after that. */
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 30;
const SHORTEST_WAIT_SECONDS = 0.2;
/** The longest pause as a part of a call's remaining time: a machine may be slow, and a certificate short. */
const PART_OF_LEFT = 0.25;
const ANSWER_SECONDS = 10;
const SHORTEST_ANSWER_SECONDS = 1;
/** The part of its certificate's life by which a gateway should have renewed: it does so at six tenths. */
const RENEWED = 0.8;

/** Claims open calls for all connections to one gateway. Ends with the signal `closed` of its options. */
export class Claims {
  readonly #options: ClaimsOptions;
  readonly #due = new Set<TLSSocket>();
  /** The pause before the next question in seconds, and when it ends. */
  #seconds = FIRST_WAIT_SECONDS;
  #next: Date | undefined;
  #running = false;
  #wake = new AbortController();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /**
   * Adds a connection whose gateway has been verified, made with our certificate `own`. `onRetire` is called when the
   * gateway should have renewed.
   */
  admit(
    socket: TLSSocket,
    { gateway, own }: { gateway: VerifiedSvid; own: Svid },
    onRetire: () => void,
  ): void {
    const { links, clock, svid } = this.#options;
    const closing = new AbortController();
    const { signal: closed } = closing;
    const [secret, until, planned] = [secretOf(socket), gateway.notAfter, false];
    const link = { secret, gateways: [gateway], own, until, planned, retire: onRetire, closed };
    links.set(socket, link);
    socket.once('close', () => {
      closing.abort();
      links.delete(socket);
      this.#due.delete(socket);
    });
    cutAtEnd(socket, link, clock).catch(() => {});
    this.#plan(socket, link, gateway, onRetire);
    // We renewed during the handshake: requests on this connection are held by the certificate before.
    if (svid.current() !== own) this.claim([socket]);
  }

  #plan(socket: TLSSocket, link: Link, gateway: VerifiedSvid, onDue: () => void): void {
    const { clock } = this.#options;
    link.planned = true;
    const due = (): void => {
      link.planned = false;
      onDue();
      this.claim([socket]);
    };
    clock.sleepUntil(retirementOf(gateway, clock.now()), link.closed).then(due, () => {});
  }

  /** Idle connections have nothing to claim: they are closed by then. */
  claim(sockets: Iterable<TLSSocket>): void {
    for (const socket of sockets) if (!socket.destroyed) this.#due.add(socket);
    if (this.#due.size === 0) return;
    this.#seconds = FIRST_WAIT_SECONDS;
    const next = this.#pauseEnd();
    // A planned question keeps its time: otherwise new claims could postpone it for ever.
    if (this.#next === undefined || next < this.#next) {
      this.#next = next;
      this.#wake.abort();
    }
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    const { closed, clock } = this.#options;
    this.#running = true;
    while (this.#due.size > 0 && !closed.aborted) {
      this.#wake = new AbortController();
      const until = AbortSignal.any([closed, this.#wake.signal]);
      await clock.sleepUntil(this.#next ?? clock.now(), until).catch(() => {});
      if (until.aborted) continue;
      this.#next = undefined;
      this.#seconds = Math.min(this.#seconds * 2, LONGEST_WAIT_SECONDS);
      const more = await this.#ask().catch(() => false);
      this.#next ??= more ? clock.now() : this.#pauseEnd();
    }
    this.#next = undefined;
    this.#running = false;
  }

  #pauseEnd(): Date {
    const seconds = Math.min(this.#seconds, this.#leftSeconds() * PART_OF_LEFT);
    return addSeconds(this.#options.clock.now(), Math.max(seconds, SHORTEST_WAIT_SECONDS));
  }

  /** Seconds until the first of the due calls is cut, here or at the gateway. */
  #leftSeconds(): number {
    const now = this.#options.clock.now().getTime();
    const left = [...this.#due].flatMap((socket) => {
      const { until, own } = this.#options.links.get(socket) ?? {};
      return [until, own?.notAfter].map((end) => ((end?.getTime() ?? now) - now) / 1000);
    });
    return Math.min(...left.filter((seconds) => seconds > 0));
  }

  /** True if more calls are due than one question can name. */
  async #ask(): Promise<boolean> {
    const { links, closed } = this.#options;
    const identity = this.#options.gateway();
    // Only its own gateway may see a secret: the registry may name another identity by now.
    const due = [...this.#due].filter((socket) => links.get(socket)?.gateways[0]?.id === identity);
    const asked = due.slice(0, MAX_CLAIMS);
    if (identity === undefined || asked.length === 0) return false;
    const secrets = asked.flatMap((socket) => links.get(socket)?.secret ?? []);
    const over = new AbortController();
    const ask = this.#options.ask(identity, secrets, AbortSignal.any([closed, over.signal]));
    const answer = await inTime(ask, this.#answerEnd(), { clock: this.#options.clock, over });
    const { claimed, gateway } = answer;
    const confirmed = claimed.filter(Boolean).length;
    this.#options.log.info(
      { claimed: confirmed, serial: gateway.serial },
      'the gateway was asked for open calls',
    );
    for (const [index, socket] of asked.entries()) {
      // Calls that are not confirmed yet are asked for last.
      const was = this.#due.delete(socket);
      const done = claimed[index] === true && this.#confirmed(socket, answer);
      if (was && !done) this.#due.add(socket);
    }
    if (!this.#isRenewed(gateway)) answer.leave();
    return confirmed > 0 && due.length > asked.length;
  }

  #answerEnd(): Date {
    const seconds = Math.min(ANSWER_SECONDS, this.#leftSeconds() / 2);
    return addSeconds(this.#options.clock.now(), Math.max(seconds, SHORTEST_ANSWER_SECONDS));
  }

  /** False if the gateway answered with a certificate that is due itself: then there is more to ask. */
  #confirmed(socket: TLSSocket, { gateway, own }: Answer): boolean {
    const link = this.#options.links.get(socket);
    if (link === undefined) return true;
    if (!link.gateways.some(({ serial }) => serial === gateway.serial)) link.gateways.push(gateway);
    if (gateway.notAfter > link.until) link.until = gateway.notAfter;
    if (own.notAfter > link.own.notAfter) link.own = own;
    if (link.planned) return true;
    if (!this.#isRenewed(gateway)) return false;
    this.#plan(socket, link, gateway, () => {});
    return true;
  }

  #isRenewed(gateway: VerifiedSvid): boolean {
    return renewalOf(gateway) > this.#options.clock.now().getTime();
  }
}

/** Aborts `over` if there is no answer in time. */
async function inTime<T>(
  answer: Promise<T>,
  end: Date,
  { clock, over }: { clock: Clock; over: AbortController },
): Promise<T> {
  const answered = new AbortController();
  clock.sleepUntil(end, answered.signal).then(
    () => over.abort(),
    () => {},
  );
  try {
    return await answer;
  } finally {
    answered.abort();
  }
}

/** A confirmed claim moves the end, so this looks again. */
async function cutAtEnd(socket: TLSSocket, link: Link, clock: Clock): Promise<void> {
  while (clock.now() < link.until) await clock.sleepUntil(link.until, link.closed);
  socket.destroy(
    new IdentityError('unavailable', 'the certificate of the gateway ended, and it did not confirm the call'),
  );
}

/**
 * When new requests should use another connection: once the gateway should have renewed. If that time is past, the
 * gateway's CA may be away: then after half of the remaining time.
 */
function retirementOf(gateway: VerifiedSvid, now: Date): Date {
  const halfway = now.getTime() + (gateway.notAfter.getTime() - now.getTime()) / 2;
  return new Date(Math.max(renewalOf(gateway), halfway));
}

/** When a gateway should have renewed, in milliseconds since 1970. */
function renewalOf({ certificate, notAfter }: VerifiedSvid): number {
  const begin = certificate.notBefore.getTime();
  return begin + (notAfter.getTime() - begin) * RENEWED;
}
