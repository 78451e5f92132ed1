/** Makes the events that the gateway records about one caller. */
import { randomUUID } from 'node:crypto';
import { type Folded, Folder } from '@chancery/shared/audit/folder.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject } from '@chancery/shared/ground/json.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { ToolUse } from '@chancery/shared/mcp/tools.ts';
import type { Allowed, Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { bounded, type CallEvent, type RecordCall, sha256 } from '../../call-event.ts';
import type { Asked, Session } from '../sessions.ts';
import { Turn } from './turn.ts';

export interface RecorderOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly record: RecordCall;
  readonly log: Log;
}

/** Records what one gateway decides; rejects where it cannot. The caller closes it, which writes what it counts. */
export class CallRecorder {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #record: RecordCall;
  readonly #log: Log;
  /** Apart, so that strangers, however many, take no place of a caller's. */
  readonly #callers: Folder<CallEvent>;
  readonly #strangers: Folder<CallEvent>;
  readonly #turn: Turn;

  constructor({ server, clock, record, log }: RecorderOptions) {
    this.#server = server;
    this.#clock = clock;
    this.#record = record;
    this.#log = log;
    this.#turn = new Turn(record, (err, ids) => {
      log.error({ err, stage: 'answered', count: ids.length, ids: ids.slice(0, MAX_IDS) }, NOT_RECORDED);
    });
    const options = {
      clock,
      write: (event: CallEvent, folded: Folded | undefined) => this.#write({ ...event, ...folded }),
      onLost: (error: unknown, lost: Folded) =>
        log.error({ err: error, ...lost }, 'repeated events could not be recorded'),
    };
    this.#callers = new Folder(options);
    this.#strangers = new Folder(options);
  }

  /** Writes what is counted and not yet written. */
  close(): void {
    this.#turn.flush();
    this.#callers.close();
    this.#strangers.close();
  }

  /**
   * Resolves once the decision is recorded, with the id of the record. `rule` is called with that id at the end of the
   * turn. Rejects with what it or the sink throws, and the message goes no further. Each allowed call has a record of
   * its own, and those of one turn share a write; repeated denials are folded.
   */
  decided(peer: VerifiedSvid, message: Message, rule: (recordId: string) => Ruling): Promise<Recorded> {
    return this.#turn.decide(() => {
      const recordId = randomUUID();
      const ruling = rule(recordId);
      const event = { ...this.#eventOf(peer, 'decided', decidedFields(message, ruling)), id: recordId };
      if (ruling.decision.allow) return { event, value: { recordId, ruling } };
      const folded = this.#fold(`denied ${event.method} ${event.tool}`, event);
      return { event: undefined, value: { recordId: folded, ruling } };
    });
  }

  /** A request without a message, or one whose message is not read: it is decided by its head. */
  decidedByHead(
    peer: VerifiedSvid,
    httpMethod: string,
    decision: Allowed | Denied,
    about: DecidedByHead,
  ): string {
    const event = this.#eventOf(peer, 'decided', {
      from: 'client',
      httpMethod,
      ...said(decision),
      policyVersion: Number(about.policy.version),
      session: about.session,
    });
    return this.#fold(`${httpMethod} ${decision.allow}`, event);
  }

  /** A session is over, and why. */
  ended({ id: session, caller, serial }: Session, detail: string): void {
    const event = this.#eventOf({ id: caller, serial }, 'ended', { from: 'client', session, detail });
    this.#quietly('ended', () => this.#fold('ended', event));
  }

  /** An open call goes on under another certificate of its caller. Throws what the sink throws, and it does not. */
  claimed(peer: VerifiedSvid, recordId: string | undefined): void {
    const event = this.#eventOf(peer, 'claimed', { from: 'client' });
    this.#write(recordId === undefined ? event : { ...event, id: recordId });
  }

  /** `text` is the answer as it is forwarded. Recorded when it is on its way: nobody waits for the record. */
  answered(peer: VerifiedSvid, asked: Asked, response: Response, text: string): void {
    if (endedBefore(asked)) return;
    const latencyMs = performance.now() - asked.startedMs;
    const result = response.error === undefined;
    const event = (): CallEvent => ({
      ...this.#eventOf(peer, 'answered', {
        from: 'server',
        kind: 'response',
        method: asked.method,
        tool: asked.tool,
        requestId: response.id,
        outcome: result ? 'result' : 'error',
        rpcCode: response.error?.code,
        resultSha256: result ? sha256(resultText(text)) : undefined,
        latencyMs,
        bytes: Buffer.byteLength(text),
      }),
      id: asked.recordId,
    });
    this.#turn.answer({ id: asked.recordId, event });
  }

  /** The last record of a call that got no answer, with what is known of its end. */
  unanswered(peer: Caller, asked: Asked, outcome: Unanswered, detail?: string): void {
    if (endedBefore(asked)) return;
    const latencyMs = performance.now() - asked.startedMs;
    const { method, tool, requestId } = asked;
    const from = outcome === 'abandoned' ? 'client' : 'server';
    this.#note(peer, asked.recordId, 'answered', {
      from,
      method,
      tool,
      requestId,
      outcome,
      detail,
      latencyMs,
    });
  }

  /** What a server says unasked and may. */
  told(peer: VerifiedSvid, message: Message): void {
    this.#folded(peer, 'decided', { from: 'server', ...describe(message), allow: true });
  }

  dropped(peer: VerifiedSvid, message: Message | undefined, detail: string): void {
    const what = message === undefined ? {} : describe(message);
    this.#folded(peer, 'dropped', { from: 'server', ...what, allow: false, detail });
  }

  /** True where it was recorded in full, so that a log line that goes with it is as rare. */
  refused(
    who: Who,
    error: IdentityError,
    about: Pick<Fields, 'httpMethod'> & { message?: Message } = {},
  ): boolean {
    const { message, ...more } = about;
    const what = message === undefined ? {} : describe(message);
    const { code, message: detail } = error;
    return this.#folded(who, 'refused', { from: 'client', ...more, ...what, allow: false, code, detail });
  }

  #folded(who: Who, stage: CallEvent['stage'], fields: Fields): boolean {
    const event = isPeer(who)
      ? this.#eventOf(who, stage, fields)
      : this.#eventOf(undefined, stage, { ...fields, address: who.address });
    const source = isPeer(who) ? who.id : who.address;
    const folder = isPeer(who) ? this.#callers : this.#strangers;
    const kind = `${stage} ${fields.from} ${fields.code ?? fields.method ?? fields.kind ?? ''}`;
    return this.#quietly(stage, () => folder.add({ source, kind }, event)) === event.id;
  }

  #fold(kind: string, event: CallEvent): string {
    return this.#callers.add({ source: event.caller ?? '', kind }, event);
  }

  /** Of what has happened already: a record that fails is an alarm, and undoes nothing. */
  #note(peer: Caller, id: string, stage: CallEvent['stage'], fields: Fields): void {
    this.#quietly(stage, () => this.#write({ ...this.#eventOf(peer, stage, fields), id }), {
      count: 1,
      ids: [id],
    });
  }

  #quietly<T>(stage: CallEvent['stage'], record: () => T, which: Lost = {}): T | undefined {
    try {
      return record();
    } catch (error) {
      this.#log.error({ err: error, stage, ...which }, NOT_RECORDED);
      return undefined;
    }
  }

  #eventOf(peer: Caller | undefined, stage: CallEvent['stage'], fields: Fields): CallEvent {
    return {
      id: randomUUID(),
      stage,
      time: this.#clock.now(),
      caller: peer?.id,
      serial: peer?.serial,
      server: this.#server,
      ...fields,
    };
  }

  #write(event: CallEvent): void {
    this.#record(bounded(event));
  }
}

/**
 * `error`: the server failed, and the client was told. `abandoned`: the client left or cancelled. `unknown`: the
 * session ended or the gateway cut the call, so nobody sees an answer; the server may have done what was asked.
 */
export type Unanswered = 'error' | 'abandoned' | 'unknown';

/** Of a call whose session has ended, the connection ends, too, or the answer still comes: one record stands. */
function endedBefore(asked: Asked): boolean {
  const { ended = false } = asked;
  asked.ended = true;
  return ended;
}

type Caller = Pick<VerifiedSvid, 'id' | 'serial'>;

/** A caller, or where a stranger's connection comes from. */
export type Who = VerifiedSvid | { readonly address: string };

const isPeer = (who: Who): who is VerifiedSvid => 'id' in who;

/** A decision as it is carried out. */
export interface Ruling extends DecidedByHead {
  readonly decision: Allowed | Denied;
  readonly use: ToolUse | undefined;
  /** Whether the caller may reach the server at all. */
  readonly reaches: boolean;
  readonly bytes: number;
}

interface Recorded {
  readonly recordId: string;
  readonly ruling: Ruling;
}

function said(decision: Allowed | Denied): Pick<CallEvent, 'allow' | 'rule' | 'reason' | 'approval'> {
  const { allow, rule, reason } = decision;
  return allow ? { allow, rule, reason } : { allow, rule, reason, approval: decision.approval };
}

type Fields = Omit<CallEvent, 'id' | 'stage' | 'time' | 'caller' | 'serial' | 'server'>;

export interface DecidedByHead {
  readonly policy: Policy;
  readonly session: string | undefined;
}

function decidedFields(message: Message, { decision, use, policy, session, bytes }: Ruling): Fields {
  return {
    from: 'client',
    ...describe(message),
    tool: use?.tool,
    argumentsSha256: use === undefined ? undefined : sha256(JSON.stringify(use.arguments)),
    ...said(decision),
    policyVersion: Number(policy.version),
    session,
    bytes,
  };
}

function describe(message: Message): Pick<CallEvent, 'kind' | 'method' | 'requestId' | 'traceparent'> {
  const { kind } = message;
  if (kind === 'response') return { kind, requestId: message.id };
  const requestId = kind === 'request' ? message.id : undefined;
  const meta = message.params?.['_meta'];
  const trace = isJsonObject(meta) ? meta['traceparent'] : undefined;
  const traceparent = typeof trace === 'string' && TRACEPARENT.test(trace) ? trace : undefined;
  return { kind, method: message.method, requestId, traceparent };
}

/** W3C Trace Context section 3.2.2. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** `writeMessage` puts the result last; inside a string the mark cannot occur, for its quotes would be escaped. */
function resultText(text: string): string {
  return text.slice(text.indexOf(RESULT) + RESULT.length, -1);
}
const RESULT = '"result":';

/** Records that could not be written. */
interface Lost {
  readonly count?: number;
  /** The first of them. */
  readonly ids?: readonly string[];
}
const MAX_IDS = 20;
const NOT_RECORDED = 'an event could not be recorded';
