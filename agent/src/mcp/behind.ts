/** One MCP server behind a gateway: its upstream, its sessions, its records and the gate before it. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import { subscriptionTo } from '@chancery/shared/policy/call.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { RecordCall } from './call-event.ts';
import type { Counts } from './gateway/counts.ts';
import { type Gate, type HeldLimits, heldBy } from './gateway/exchange/gate.ts';
import { deniedMeanwhile } from './gateway/judge/judge.ts';
import { Listeners } from './gateway/listeners.ts';
import { CallRecorder } from './gateway/records/record.ts';
import { type Session, type SessionLimits, Sessions } from './gateway/sessions.ts';
import { States, type StatesOptions } from './gateway/states.ts';
import { Subscriptions } from './gateway/subscriptions.ts';
import { Tasks } from './gateway/tasks.ts';
import { whoOf } from './gateway/whose.ts';
import type { Spans } from './spans.ts';
import { httpUpstream } from './upstream/http/http.ts';
import { commandUpstream } from './upstream/stdio/command.ts';
import { MAX_REQUEST_BYTES, type Upstream, type UpstreamTarget } from './upstream/upstream.ts';

/** What is of one server. */
export interface ServerOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly upstream: UpstreamTarget;
  /**
   * By default as many sessions as the upstream can hold, at most half of them for one caller, idle for at most an
   * hour.
   */
  readonly sessions?: Partial<SessionLimits>;
  /** How long a call may last if it outlives its certificate; by default a day. */
  readonly maxCallSeconds?: number | undefined;
  /** By default all kinds of free text pass. */
  readonly freeText?: FreeText;
}

/** What is of all servers of one gateway. */
export interface SharedOptions extends HeldLimits, StatesOptions {
  readonly policy: Source<Policy>;
  readonly clock: Clock;
  readonly log: Log;
  readonly record: RecordCall;
  /** The largest message of a client; by default 16 MiB. */
  readonly maxRequestBytes?: number | undefined;
  /** By default nothing is traced. */
  readonly spans?: Spans | undefined;
  /** Throws ca_unheard where a new call must not be admitted; by default never. */
  readonly ensureHeard?: (() => void) | undefined;
  /** Of all its servers. */
  readonly counts: Counts;
}

export interface Behind {
  readonly gate: Gate;
  /** Ends the sessions of callers that are revoked. */
  revoked(set: RevocationSet): void;
  /** Ends the sessions of callers that no rule lets in any more, and tells the others of another list. */
  policyChanged(policy: Policy): void;
  /** Ends its sessions. */
  stop(): void;
  /** Ends its upstream, after `stop`. The records end last, by the one who opened this. */
  close(): Promise<void>;
}

const FREE_TEXT: FreeText = { instructions: true, logs: true };

/** One of so many servers. It sends nothing before the first request. The caller closes it. */
export function openBehind(own: ServerOptions, shared: SharedOptions, servers: number): Behind {
  const { policy, clock, counts, maxRequestBytes = MAX_REQUEST_BYTES } = shared;
  const options = { ...shared, ...own };
  const recorder = new CallRecorder(options);
  const upstream = upstreamOf(options);
  const listeners = new Listeners(own.server);
  const sessions = sessionsOf(options, upstream, recorder, listeners);
  const gate: Gate = {
    ...{
      server: own.server,
      policy,
      clock,
      recorder,
      sessions,
      counts,
      upstream,
      maxRequestBytes,
      listeners,
    },
    freeText: own.freeText ?? FREE_TEXT,
    ...{ subscriptions: new Subscriptions(), tasks: new Tasks(clock) },
    spans: shared.spans,
    ...heldBy(shared, maxRequestBytes, servers),
    ensureHeard: shared.ensureHeard ?? (() => {}),
    states: new States(shared),
  };
  return {
    gate,
    revoked: (set) =>
      sessions.end(
        ({ caller: id, serial }) => set.revoked({ id, serial }, clock.now()) !== undefined,
        'its caller is revoked',
      ),
    policyChanged(next) {
      listeners.policyChanged(next);
      const reaches = (session: Session): boolean =>
        decideServer(next, whoOf(peerOf(session)), own.server).allow;
      sessions.end((session) => !reaches(session), 'no rule lets its caller in any more');
      sessions.endSubscriptions((session, uri) => {
        const whose = { ...whoOf(peerOf(session)), attested: session.attested };
        const about = { server: own.server, what: subscriptionTo(uri) };
        const call = { ...whose, ...about, session: session.id, now: clock.now() };
        return deniedMeanwhile(next, call) !== undefined;
      });
    },
    stop: () => sessions.stop(),
    close: () => upstream.close(),
  };
}

/** Who began it. */
const peerOf = ({ caller: id, serial, attested }: Session) => ({ id, serial, attested });

type Options = ServerOptions & SharedOptions;

function upstreamOf({ upstream: target, log, sessions, clock }: Options): Upstream {
  return target.kind === 'command'
    ? commandUpstream(target, log, sessions?.max, clock)
    : httpUpstream(target, log);
}

function sessionsOf(
  { server, counts, sessions, clock, policy }: Options,
  upstream: Upstream,
  recorder: CallRecorder,
  listeners: Listeners,
): Sessions {
  const max = sessions?.max ?? upstream.maxSessions;
  const { maxPerCaller = Math.ceil(max / 2), idleSeconds = 3600 } = sessions ?? {};
  const table = new Sessions({
    server,
    counts,
    limits: { max, maxPerCaller, idleSeconds },
    clock,
    onBegin: (session) => listeners.begun(session, whoOf(peerOf(session)), policy.current()),
    onEnd(session, why, atServer) {
      recorder.ended(session, why);
      for (const asked of session.pending.values())
        recorder.unanswered(peerOf(session), asked, 'unknown', why);
      for (const question of session.questions.takeAll())
        recorder.unansweredQuestion(peerOf(session), question, why);
      if (atServer) upstream.forget(session.upstream);
    },
  });
  upstream.onSessionEnd((name) =>
    table.end((session) => session.upstream === name, 'the process of the MCP server ended', false),
  );
  return table;
}
