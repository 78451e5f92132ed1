/**
 * Reads bodies of callers and bounds what those that are not whole yet hold: for a connection, for a caller, and for
 * all. When all hold too much, the oldest unfinished body of the caller that holds most is refused.
 */
import type { IncomingMessage } from 'node:http';
import { type WeightSettings, Weights } from '@chancery/shared/door/weights.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { readBody } from '../wire/http-body.ts';

export type BodyLimits = Pick<WeightSettings, 'total' | 'perConnection'> & { readonly perCaller: number };

const MIB = 1024 * 1024;
/** With the largest request by default, as many as four and eight of those. */
const PER_CALLER = 64 * MIB;
const TOTAL = 128 * MIB;

/** A connection may hold one request of the largest size, a caller two, and two callers all. */
export function bodyLimits(maxRequestBytes: number): BodyLimits {
  const perCaller = Math.max(PER_CALLER, 2 * maxRequestBytes);
  return { perConnection: maxRequestBytes, perCaller, total: Math.max(TOTAL, 2 * perCaller) };
}

export class Bodies {
  readonly #weights: Weights;

  constructor({ total, perConnection, perCaller }: BodyLimits) {
    this.#weights = new Weights({ total, perConnection, perAddress: perCaller, perNetwork: perCaller });
  }

  /** Throws mcp_size, mcp_parse, and rate where the caller or everybody holds too much. */
  read(req: IncomingMessage, caller: SpiffeId, maxBytes: number): Promise<Buffer> {
    return readBody(req, maxBytes, (lose) => this.#weights.open({ address: caller }, req.socket, lose));
  }
}
