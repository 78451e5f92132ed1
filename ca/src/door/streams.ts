/** Bounds on what peers can make the CA's gRPC server hold by HTTP/2 streams. */
import { STREAM_BYTES, type StreamBounds } from '@chancery/shared/door/http2/streams.ts';

const MIB = 1024 * 1024;
/** The largest message of a stranger is an opening with an event log of 1 MiB. */
const STRANGERS = {
  total: 64 * MIB,
  perConnection: 4 * MIB,
  perAddress: 8 * MIB,
  perNetwork: 16 * MIB,
  little: 2 * MIB,
  what: 'open call',
} as const;
/** Unfinished messages of certified peers, by address, and of users of this machine. */
const KNOWN = { total: 128 * MIB, perConnection: 8 * MIB, perAddress: 16 * MIB, perNetwork: 32 * MIB };
/** Open streams of a stranger on one connection: an agent that joins needs two. */
const STRANGER_STREAMS = 32;
/** Open calls of a certificate, wherever it comes from, or of a user of this machine. */
const KNOWN_CALLS = { perConnection: 8 * MIB, perAddress: 16 * MIB, what: 'open call' } as const;
/** An agent keeps one trust stream open, and now and then renews beside it. */
const CALLS_OF_CONNECTION = 2;
/** The part of all open calls that one SPIFFE ID may have: all nodes may share it. */
const PART_OF_ID = 0.75;
const RESETS = { perSecond: 10, burst: 300 };
/** An agent that joins makes two calls, and waits for seconds after a refusal. */
const FAILURES_OF_STRANGER = { perSecond: 2, burst: 20 };
/** Agents of one site may share an address. */
const RESETS_OF_ADDRESS = { perSecond: 40, burst: 800 };

/** `connections` is how many may be open at once. */
export function streamBounds(connections: number): StreamBounds {
  const total = KNOWN.total + connections * CALLS_OF_CONNECTION * STREAM_BYTES;
  return {
    strangers: STRANGERS,
    messages: KNOWN,
    calls: { ...KNOWN_CALLS, total, perNetwork: total * PART_OF_ID },
    strangerStreams: STRANGER_STREAMS,
    failures: FAILURES_OF_STRANGER,
    resets: RESETS,
    resetsOfAll: RESETS_OF_ADDRESS,
  };
}
