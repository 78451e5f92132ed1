/**
 * Calls that are open when a certificate is renewed, ours or the gateway's, are claimed over a connection made with the
 * certificates of now. The gateway goes on with those that it confirms, and so do we: a connection lasts to the end of
 * the newest certificate with which its gateway confirmed the call, and no longer.
 */
import type { TLSSocket } from 'node:tls';
import { addSeconds, type Clock } from '@chancery/shared/clock.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import type { Log } from '@chancery/shared/log.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { MAX_CLAIMS, secretOf } from '../wire/claims.ts';

/** An open connection to a gateway. */
export interface Link {
  readonly secret: Uint8Array;
  /** By whose certificates it stands: the one that it was made with first. */
  readonly gateways: VerifiedSvid[];
  until: Date;
  /** It will be claimed when its gateway should have renewed. */
  planned: boolean;
  /** The connection has. */
  readonly closed: AbortSignal;
}

/** Of whatever route. */
export type Links = Map<TLSSocket, Link>;

export interface ClaimsOptions {
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Log;
  readonly closed: AbortSignal;
  /** To whom new connections lead. Throws unavailable before there is a policy. */
  readonly gateway: () => SpiffeId | undefined;
  /** Over a new connection to a gateway of this identity; which calls go on, and who says so. */
  readonly ask: (
    identity: SpiffeId,
    secrets: readonly Uint8Array[],
  ) => Promise<{ readonly claimed: readonly boolean[]; readonly gateway: VerifiedSvid }>;
}

/** The CA tells gateways of a renewal at once, but not before us. */
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 30;
/** A gateway has renewed at six tenths of its certificate's life. */
const RENEWED = 0.8;

export class Claims {
  readonly #options: ClaimsOptions;
  readonly #due = new Set<TLSSocket>();
  #running = false;
  #wake = new AbortController();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Counts a connection whose gateway has been verified; `onRetire` is called when the gateway should have renewed. */
  admit(socket: TLSSocket, gateway: VerifiedSvid, onRetire: () => void): void {
    const { links, clock } = this.#options;
    const closing = new AbortController();
    const { signal: closed } = closing;
    const link = {
      secret: secretOf(socket),
      gateways: [gateway],
      until: gateway.notAfter,
      planned: false,
      closed,
    };
    links.set(socket, link);
    socket.once('close', () => {
      closing.abort();
      links.delete(socket);
      this.#due.delete(socket);
    });
    cutAtEnd(socket, link, clock).catch(() => {});
    this.#plan(socket, link, gateway, onRetire);
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
    this.#wake.abort();
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    const { closed, clock } = this.#options;
    this.#running = true;
    let seconds = FIRST_WAIT_SECONDS;
    while (this.#due.size > 0 && !closed.aborted) {
      this.#wake = new AbortController();
      const until = AbortSignal.any([closed, this.#wake.signal]);
      await clock.sleepUntil(addSeconds(clock.now(), seconds), until).catch(() => {});
      // Others are due as well, by a newer certificate.
      const woken = this.#wake.signal.aborted;
      seconds = woken ? FIRST_WAIT_SECONDS : Math.min(seconds * 2, LONGEST_WAIT_SECONDS);
      if (!woken && !closed.aborted) await this.#ask().catch(() => {});
    }
    this.#running = false;
  }

  async #ask(): Promise<void> {
    const { links } = this.#options;
    const identity = this.#options.gateway();
    // A secret is its own gateway's to know: the registry may name another identity by now.
    const own = [...this.#due].filter((socket) => links.get(socket)?.gateways[0]?.id === identity);
    const asked = own.slice(0, MAX_CLAIMS);
    if (identity === undefined || asked.length === 0) return;
    const secrets = asked.flatMap((socket) => links.get(socket)?.secret ?? []);
    const { claimed, gateway } = await this.#options.ask(identity, secrets);
    const { serial } = gateway;
    this.#options.log.info(
      { claimed: claimed.filter(Boolean).length, serial },
      'the gateway was asked for open calls',
    );
    for (const [index, socket] of asked.entries()) {
      // Those that are not confirmed yet go to the end.
      const due = this.#due.delete(socket);
      if (claimed[index] === true) this.#confirmed(socket, gateway);
      else if (due) this.#due.add(socket);
    }
  }

  #confirmed(socket: TLSSocket, gateway: VerifiedSvid): void {
    const link = this.#options.links.get(socket);
    if (link === undefined) return;
    if (!link.gateways.some(({ serial }) => serial === gateway.serial)) link.gateways.push(gateway);
    if (gateway.notAfter > link.until) link.until = gateway.notAfter;
    if (!link.planned) this.#plan(socket, link, gateway, () => {});
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
function retirementOf({ certificate, notAfter }: VerifiedSvid, now: Date): Date {
  const [begin, end] = [certificate.notBefore.getTime(), notAfter.getTime()];
  const halfway = now.getTime() + (end - now.getTime()) / 2;
  return new Date(Math.max(begin + (end - begin) * RENEWED, halfway));
}
