/** Makes the events that the gateway records about one caller. */
import { randomUUID } from 'node:crypto';
import { type Folded, Folder } from '@chancery/shared/audit/folder.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { Allowed, Denied } from '@chancery/shared/policy/decision.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { bounded, type CallEvent, type RecordCall, sha256 } from '../../call-event.ts';
import { endOf } from '../../spans.ts';
import type { Question } from '../questions.ts';
import type { PendingRequest, Session } from '../sessions.ts';
import { type AskedBy, askedFields, inputFields } from './asked.ts';
import { RecordBatch } from './batch.ts';
import {
  type Caller,
  calledBy,
  type DecidedByHead,
  decidedFields,
  describe,
  type Fields,
  type Input,
  named,
  type Ruling,
  said,
} from './fields.ts';
import { Observations } from './observations.ts';

export interface RecorderOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly record: RecordCall;
  readonly log: Log;
}

/** Records what one gateway decides, and rejects if it cannot. The caller closes it, which writes what is counted. */
export class CallRecorder {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #record: RecordCall;
  readonly #log: Log;
  /** Separate, so that strangers never replace a caller's events. */
  readonly #callers: Folder<CallEvent>;
  readonly #strangers: Folder<CallEvent>;
  readonly #batch: RecordBatch;
  readonly #observations: Observations;

  constructor({ server, clock, record, log }: RecorderOptions) {
    this.#server = server;
    this.#clock = clock;
    this.#record = record;
    this.#log = log;
    this.#batch = new RecordBatch(record, (err, ids) => {
      log.error({ err, stage: 'answered', count: ids.length, ids: ids.slice(0, MAX_IDS) }, NOT_RECORDED);
    });
    this.#observations = new Observations(server, { clock, log });
    const options = {
      clock,
      write: (event: CallEvent, folded: Folded | undefined) => this.#write({ ...event, ...folded }),
      onLost: (error: unknown, lost: Folded) =>
        log.error({ err: error, ...lost }, 'repeated events could not be recorded'),
    };
    this.#callers = new Folder(options);
    this.#strangers = new Folder(options);
  }

  /** Writes events that are counted and not yet written. */
  close(): void {
    this.#batch.flush();
    this.#callers.close();
    this.#strangers.close();
  }

  /**
   * Resolves with the id of the record once it is written. Calls `rule` with that id at the end of the turn. Rejects
   * with what `rule` or the sink throws: then the message is not forwarded. Each allowed call has its own record;
   * repeated denials are folded.
   */
  decided(peer: VerifiedSvid, message: Message, rule: (recordId: string) => Ruling): Promise<Recorded> {
    return this.#batch.decide(() => {
      const recordId = randomUUID();
      const ruling = rule(recordId);
      const { question, inputs = [] } = ruling;
      const stage = question === undefined ? 'decided' : 'answered';
      const id = question?.recordId ?? recordId;
      const event = { ...this.#eventOf(peer, stage, decidedFields(message, this.#server, ruling)), id };
      this.#observations.note(ruling.decision);
      if (ruling.decision.allow) {
        for (const input of inputs)
          this.#batch.answer({ id: input.recordId, event: () => this.#inputOf(peer, input, ruling) });
        return { event, value: { recordId, ruling } };
      }
      const folded = this.#fold(
        `denied ${event.method} ${event.tool ?? event.resource ?? event.prompt}`,
        event,
      );
      return { event: undefined, value: { recordId: folded, ruling } };
    });
  }

  /** Records a request that is decided by its head: its message is missing, or not read. */
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
      detail: about.detail,
    });
    // The reason names the server, which need not be that of the record.
    return this.#fold(`${httpMethod} ${decision.allow ? '' : decision.reason}`, event);
  }

  /** Records that a session is over, and why. */
  ended({ id: session, caller: id, serial, attested }: Session, detail: string): void {
    const fields: Fields = { from: 'client', session, detail };
    const event = this.#eventOf({ id, serial, attested }, 'ended', fields);
    this.#quietly('ended', () => this.#fold('ended', event));
  }

  /** Records that an open call continues under another certificate. Throws what the sink throws: then it does not. */
  claimed(peer: VerifiedSvid, recordId: string | undefined): void {
    const event = this.#eventOf(peer, 'claimed', { from: 'client' });
    this.#write(recordId === undefined ? event : { ...event, id: recordId });
  }

  /** Records an answer, without delaying it. `text` is what is forwarded. */
  answered(peer: VerifiedSvid, asked: PendingRequest, response: Response, text: string): void {
    if (endedBefore(asked)) return;
    asked.span?.end(endOf(response));
    const latencyMs = performance.now() - asked.startedMs;
    const result = response.error === undefined;
    const event = (): CallEvent => ({
      ...this.#eventOf(peer, 'answered', {
        from: 'server',
        kind: 'response',
        method: asked.method,
        ...named(asked.what),
        requestId: response.id,
        outcome: result ? 'result' : 'error',
        rpcCode: response.error?.code,
        resultSha256: result ? sha256(resultText(text)) : undefined,
        latencyMs,
        bytes: Buffer.byteLength(text),
      }),
      id: asked.recordId,
    });
    this.#batch.answer({ id: asked.recordId, event });
  }

  /** Records the end of a call without an answer, with what is known of it. */
  unanswered(peer: Caller, asked: PendingRequest, outcome: Unanswered, detail?: string): void {
    if (endedBefore(asked)) return;
    asked.span?.end({ error: outcome === 'error' ? 'upstream' : outcome });
    const latencyMs = performance.now() - asked.startedMs;
    const { method, what, requestId } = asked;
    const from = outcome === 'abandoned' ? 'client' : 'server';
    const fields = { from, method, ...named(what), requestId, outcome, detail, latencyMs } as const;
    this.#note(peer, asked.recordId, 'answered', fields);
  }

  /** An answer of the client inside its request (2026-07-28, "Multi Round-Trip Requests"). */
  #inputOf(peer: VerifiedSvid, { recordId: id, ...input }: Input, ruling: Ruling): CallEvent {
    return { ...this.#eventOf(peer, 'answered', inputFields(input, ruling)), id };
  }

  /** Records what a server asks its client. Throws what the sink throws: then the question is not passed on. */
  asked(peer: VerifiedSvid, asked: AskedBy, decision: Allowed | Denied): string {
    const event = this.#eventOf(peer, 'decided', askedFields(asked, decision));
    this.#observations.note(decision);
    if (!decision.allow) return this.#fold(`asked ${asked.method} ${event.tool ?? ''}`, event);
    this.#write(event);
    return event.id;
  }

  /** Records that a question has no answer any more, and why. */
  unansweredQuestion(peer: Caller, { recordId, method, during, asked }: Question, detail: string): void {
    const about = { from: 'client', method, ...named(during[0]?.what), requestId: asked } as const;
    this.#note(peer, recordId, 'answered', { ...about, outcome: 'unknown', detail });
  }

  /** Records an allowed message that a server sent unasked. */
  told(peer: VerifiedSvid, message: Message, observed = false): void {
    const fields = { from: 'server', ...describe(message), allow: true } as const;
    this.#folded(peer, 'decided', observed ? { ...fields, observed } : fields);
  }

  /** Records a message of the server that was not passed on. Repeats are folded. */
  dropped(peer: VerifiedSvid, message: Message | undefined, detail: string): void {
    const what = message === undefined ? {} : describe(message);
    this.#folded(peer, 'dropped', { from: 'server', ...what, allow: false, detail });
  }

  /** True if it was recorded in full, so that its log line is as rare as its record. */
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

  /** Records what has already happened: if that fails, it is logged and changes nothing. */
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
      ...calledBy(peer),
      server: this.#server,
      ...fields,
    };
  }

  #write(event: CallEvent): void {
    this.#record(bounded(event));
  }
}

/**
 * `error`: the server failed; the client got an error. `abandoned`: the client left or cancelled. `unknown`: the server
 * has the request, and no answer came: its connection or its session ended, or the gateway cut the call. It may have
 * done what was asked.
 */
export type Unanswered = 'error' | 'abandoned' | 'unknown';

/** True if the end of this call is on record already, because its session has ended. */
function endedBefore(asked: PendingRequest): boolean {
  const { ended = false } = asked;
  asked.ended = true;
  return ended;
}

/** A caller, or the address of a stranger. */
export type Who = VerifiedSvid | { readonly address: string };

const isPeer = (who: Who): who is VerifiedSvid => 'id' in who;

interface Recorded {
  readonly recordId: string;
  readonly ruling: Ruling;
}

/** `writeMessage` puts the result last. The mark cannot occur in a string, where its quotes would be escaped. */
function resultText(text: string): string {
  return text.slice(text.indexOf(RESULT) + RESULT.length, -1);
}
const RESULT = '"result":';

/** Records that could not be written: how many, and the ids of the first ones. */
interface Lost {
  readonly count?: number;
  readonly ids?: readonly string[];
}
const MAX_IDS = 20;
const NOT_RECORDED = 'an event could not be recorded';
