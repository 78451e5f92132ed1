/** What an exchange gets: what all exchanges with one server share, and its own request. */

import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Request } from '@chancery/shared/mcp/message.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Spans } from '../../spans.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { Bodies, type BodyLimits, bodyLimits } from '../bodies.ts';
import type { Counts } from '../counts.ts';
import type { Listeners } from '../listeners.ts';
import type { OpenCall } from '../peers/open-call.ts';
import type { CallRecorder } from '../records/record.ts';
import type { Pending, Session, Sessions } from '../sessions.ts';
import type { States } from '../states.ts';
import type { Subscriptions } from '../subscriptions.ts';
import type { Tasks } from '../tasks.ts';
import { Unread, type UnreadLimits, unreadLimits } from './unread.ts';

/** What all exchanges with one server share. */
export interface Gate {
  readonly server: string;
  readonly policy: Source<Policy>;
  readonly clock: Clock;
  readonly recorder: CallRecorder;
  readonly sessions: Sessions;
  readonly counts: Counts;
  readonly upstream: Upstream;
  readonly freeText: FreeText;
  /** The largest message of a client. */
  readonly maxRequestBytes: number;
  readonly bodies: Bodies;
  readonly unread: Unread;
  readonly arriving: Unread;
  readonly listeners: Listeners;
  readonly subscriptions: Subscriptions;
  /** Binds the state of questions in the modern era to what they are about. */
  readonly states: States;
  readonly tasks: Tasks;
  /** Undefined without telemetry. */
  readonly spans?: Spans | undefined;
  /** Throws ca_unheard if what the CA says may have changed too long ago. */
  readonly ensureHeard: () => void;
}

export interface ExchangeFacts {
  /** The caller by the certificate of its request, for records. What is decided asks `holderOf`. */
  readonly peer: VerifiedSvid;
  readonly era: 'legacy' | 'modern';
  /** The request without its parameters; undefined for a GET, a DELETE, a notification and a client's response. */
  readonly request: Request | undefined;
  readonly session: Session | undefined;
  /** The session's pending requests, or this request alone. */
  readonly pending: Pending;
  readonly call: Pick<OpenCall, 'cut' | 'source' | 'holder'>;
}

export interface HeldLimits {
  /** Bytes of request bodies; by default 64 MiB of a caller and 128 MiB of all. */
  readonly bodies?: Partial<BodyLimits>;
  /** Bytes of answers that clients do not read; by default 128 MiB of a caller and 512 MiB of all. */
  readonly unread?: Partial<UnreadLimits>;
  /** Bytes of incomplete answers; by default as many. */
  readonly arriving?: Partial<UnreadLimits>;
}

/**
 * The bounds on messages that a gateway holds for one server, in both directions. Each of its `servers` has a part of
 * its own, so that what one holds costs the others nothing.
 */
export function heldBy(
  limits: HeldLimits,
  maxRequestBytes: number,
  servers = 1,
): Pick<Gate, 'bodies' | 'unread' | 'arriving'> {
  const bodies = new Bodies({ ...bodyLimits(maxRequestBytes, servers), ...limits.bodies });
  const share = unreadLimits(servers);
  const arriving = new Unread({ ...share, ...limits.arriving }, 'in answers that are not whole');
  return { bodies, unread: new Unread({ ...share, ...limits.unread }), arriving };
}
