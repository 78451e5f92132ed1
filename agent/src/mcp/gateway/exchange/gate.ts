/** What an exchange is given: what all exchanges of one gateway share, and what its own request is. */
import type { Request } from '@chancery/shared/mcp/message.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Bodies, Hold } from '../bodies.ts';
import type { Listeners } from '../listeners.ts';
import type { CallRecorder } from '../record.ts';
import type { Pending, Session, Sessions } from '../sessions.ts';

/** What all exchanges of one gateway share. */
export interface Gate {
  readonly server: string;
  readonly policy: Source<Policy>;
  readonly recorder: CallRecorder;
  readonly sessions: Sessions;
  readonly upstream: Upstream;
  readonly freeText: FreeText;
  /** Of one message of a client. */
  readonly maxRequestBytes: number;
  readonly bodies: Bodies;
  readonly listeners: Listeners;
}

export interface ExchangeFacts {
  readonly peer: VerifiedSvid;
  readonly era: 'legacy' | 'modern';
  /** Without its parameters; undefined for a GET, a DELETE, a notification and a client's response. */
  readonly request: Request | undefined;
  readonly hold?: Hold;
  readonly session: Session | undefined;
  /** The session's, or this request's alone. */
  readonly pending: Pending;
}
