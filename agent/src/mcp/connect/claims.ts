/**
 * Calls that are open when a certificate is renewed, ours or the gateway's, are claimed over a connection made with the
 * certificates of now. The gateway goes on with those that it confirms, and so do we: a connection lasts to the end of
 * the newest certificate with which its gateway confirmed the call, and no longer.
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
  /** By whose certificates it stands: the one that it was made with first. */
  readonly gateways: VerifiedSvid[];
  /** By which of our certificates the gateway lets it stand. */
  own: Svid;
  until: Date;
  /** It will be claimed when its gateway should have renewed. */
  planned: boolean;
  /** Lets it take no more requests: it is closed when the one that it has is done. */
  readonly retire: () => void;
  /** The connection has. */
  readonly closed: AbortSignal;
}

/** Of whatever route. */
export type Links = Map<TLSSocket, Link>;

/** Which calls go on, and by whose certificates. */
export interface Answer {
  readonly claimed: readonly boolean[];
  readonly gateway: VerifiedSvid;
  readonly own: Svid;
  /** Lets the connection of the claim take no more requests, so that the next claim makes one. */
  leave(): void;
}

export interface ClaimsOptions {
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Log;
  readonly closed: AbortSignal;
  readonly svid: Source<Svid>;
  /** To whom new connections lead. Throws unavailable before there is a policy. */
  readonly gateway: () => SpiffeId | undefined;
  /** Asks a gateway of this identity, until the signal. */
  readonly ask: (identity: SpiffeId, secrets: readonly Uint8Array[], signal: AbortSignal) => Promise<Answer>;
}

/** The CA tells gateways of a renewal at once, but not before us. */
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 30;
const SHORTEST_WAIT_SECONDS = 0.2;
/** Of the time that is left to a call: a machine may be slow, and a certificate short. */
const PART_OF_LEFT = 0.25;
const ANSWER_SECONDS = 10;
const SHORTEST_ANSWER_SECONDS = 1;
/** A gateway has renewed at six tenths of its certificate's life. */
const RENEWED = 0.8;

/** Claims open calls for all connections to one gateway. Ends with the signal `closed` of its options. */
export class Claims {
  readonly #options: ClaimsOptions;
  readonly #due = new Set<TLSSocket>();
  /** The pause before the next question, and its end. */
  #seconds = FIRST_WAIT_SECONDS;
  #next: Date | undefined;
  #running = false;
  #wake = new AbortController();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /**
   * Counts a connection whose gateway has been verified, made with our certificate `own`; `onRetire` is called when the
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
    // We have renewed during its handshake: what is sent on it stands by the certificate before.
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

  /** Of connections that are idle there is nothing to claim: they are closed by then. */
  claim(sockets: Iterable<TLSSocket>): void {
    for (const socket of sockets) if (!socket.destroyed) this.#due.add(socket);
    if (this.#due.size === 0) return;
    this.#seconds = FIRST_WAIT_SECONDS;
    const next = this.#pauseEnd();
    // A question that is planned already is not put off, or a stream of new claims would put it off for ever.
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

  /** Until the first of the calls that are due is cut, here or at the gateway. */
  #leftSeconds(): number {
    const now = this.#options.clock.now().getTime();
    const left = [...this.#due].flatMap((socket) => {
      const { until, own } = this.#options.links.get(socket) ?? {};
      return [until, own?.notAfter].map((end) => ((end?.getTime() ?? now) - now) / 1000);
    });
    return Math.min(...left.filter((seconds) => seconds > 0));
  }

  /** True where there are more than one question could name. */
  async #ask(): Promise<boolean> {
    const { links, closed } = this.#options;
    const identity = this.#options.gateway();
    // A secret is its own gateway's to know: the registry may name another identity by now.
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
      // Those that are not confirmed yet go to the end.
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

  /** False where there is more to ask for: the gateway answered with a certificate that is due itself. */
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

/** Aborts `over` where there is no answer by the end. */
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

/** A confirmed claim puts the end off, so there is another look at it. */
async function cutAtEnd(socket: TLSSocket, link: Link, clock: Clock): Promise<void> {
  while (clock.now() < link.until) await clock.sleepUntil(link.until, link.closed);
  socket.destroy(
    new IdentityError('unavailable', 'the certificate of the gateway ended, and it did not confirm the call'),
  );
}

/**
 * When requests should find another connection: once the gateway has another certificate. Where it should have had one
 * already, its CA may be away: half of what is left, to look again.
 */
function retirementOf(gateway: VerifiedSvid, now: Date): Date {
  const halfway = now.getTime() + (gateway.notAfter.getTime() - now.getTime()) / 2;
  return new Date(Math.max(renewalOf(gateway), halfway));
}

/** When a gateway has another certificate, in milliseconds since 1970. */
function renewalOf({ certificate, notAfter }: VerifiedSvid): number {
  const begin = certificate.notBefore.getTime();
  return begin + (notAfter.getTime() - begin) * RENEWED;
}
