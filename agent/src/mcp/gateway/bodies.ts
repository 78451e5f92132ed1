/**
 * Reads request bodies and bounds their bytes: for a connection, for a caller, and for all. A body counts until the MCP
 * server has taken it; it is not kept while the server works on it. If all bodies together exceed the bound, the oldest
 * body of the caller that holds most is refused.
 */
import type { IncomingMessage } from 'node:http';
import { type WeightSettings, Weights } from '@chancery/shared/door/weights.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { readBody } from '../wire/http-body.ts';

export type BodyLimits = Pick<WeightSettings, 'total' | 'perConnection'> & { readonly perCaller: number };

const MIB = 1024 * 1024;
/** Four and eight requests of the default largest size. */
const PER_CALLER = 64 * MIB;
const TOTAL = 128 * MIB;

/**
 * Of one of so many servers, an equal part of all. A connection may hold one request of the largest size. A caller of
 * an only server may hold at least two, and all callers together twice as many as one.
 */
export function bodyLimits(maxRequestBytes: number, servers = 1): BodyLimits {
  const least = (servers === 1 ? 2 : 1) * maxRequestBytes;
  const perCaller = Math.max(Math.floor(PER_CALLER / servers), least);
  const total = Math.max(Math.floor(TOTAL / servers), 2 * perCaller);
  return { perConnection: maxRequestBytes, perCaller, total };
}

/** A whole body. */
export interface Body {
  readonly bytes: Buffer;
  readonly hold: Hold;
}

/** The count of a body, or of what was made of it, until `free`. It does not hold the body itself. */
export interface Hold {
  /** Counts the body no longer. */
  free(): void;
  /** Calls back if the body must give way to another one: then everything made of it must be dropped. */
  onLost(listener: (reason: IdentityError) => void): void;
}

/** Reads request bodies, and bounds the bytes of a connection, a caller and all callers. One for each server. */
export class Bodies {
  readonly #weights: Weights;

  constructor({ total, perConnection, perCaller }: BodyLimits) {
    this.#weights = new Weights({ total, perConnection, perAddress: perCaller, perNetwork: perCaller });
  }

  /** Throws mcp_size, mcp_parse, and rate if the caller or all callers hold too much. */
  async hold(req: IncomingMessage, caller: SpiffeId, maxBytes: number): Promise<Body> {
    const listeners: ((reason: IdentityError) => void)[] = [];
    let lost: IdentityError | undefined;
    let lose = (reason: IdentityError): void => {
      lost = reason;
      for (const listener of listeners) listener(reason);
    };
    const whole = lose;
    const weight = this.#weights.open({ address: caller }, req.socket, (reason) => lose(reason));
    const bytes = await readBody(req, maxBytes, (giveUp) => {
      lose = giveUp;
      return weight;
    });
    lose = whole;
    const onLost: Hold['onLost'] = (listener) => {
      listeners.push(listener);
      if (lost !== undefined) listener(lost);
    };
    return { bytes, hold: { free: () => weight.free(), onLost } };
  }

  /** Reads a body that is not kept. Throws what `hold` throws. */
  async read(req: IncomingMessage, caller: SpiffeId, maxBytes: number): Promise<Buffer> {
    const { bytes, hold } = await this.hold(req, caller, maxBytes);
    hold.free();
    return bytes;
  }
}
