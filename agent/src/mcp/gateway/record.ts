/** Makes the events that the gateway records about one caller. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '@chancery/shared/clock.ts';
import type { IdentityError } from '@chancery/shared/errors.ts';
import { isJsonObject } from '@chancery/shared/json.ts';
import type { Log } from '@chancery/shared/log.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { type CallEvent, type RecordCall, sha256 } from '../call-event.ts';
import type { Verdict } from './judge.ts';
import type { Asked } from './sessions.ts';

export interface RecorderOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly record: RecordCall;
  readonly log: Log;
}

export class CallRecorder {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #record: RecordCall;

  readonly #log: Log;

  constructor({ server, clock, record, log }: RecorderOptions) {
    this.#server = server;
    this.#clock = clock;
    this.#record = record;
    this.#log = log;
  }

  /** Returns the decision's id. Throws what the sink throws, and the message goes no further. */
  decided(peer: VerifiedSvid, message: Message, verdict: Verdict, about: Decided): string {
    const id = randomUUID();
    const { decision, use } = verdict;
    const { allow, rule, reason } = decision;
    this.#event(peer, id, 'decided', {
      from: 'client',
      ...describe(message),
      tool: use?.tool,
      argumentsSha256: use === undefined ? undefined : sha256(JSON.stringify(use.arguments)),
      allow,
      rule,
      reason,
      policyVersion: Number(about.policy.version),
      session: about.session,
      bytes: about.bytes,
    });
    return id;
  }

  /** `text` is the answer as it is forwarded. Recorded when it is on its way: nobody waits for the record. */
  answered(peer: VerifiedSvid, asked: Asked, response: Response, text: string): void {
    const latencyMs = performance.now() - asked.startedMs;
    setImmediate(() => {
      const result = response.error === undefined;
      this.#note(peer, asked.recordId, 'answered', {
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
      });
    });
  }

  abandoned(peer: VerifiedSvid, asked: Asked): void {
    const latencyMs = performance.now() - asked.startedMs;
    const { method, tool } = asked;
    this.#note(peer, asked.recordId, 'answered', {
      from: 'client',
      method,
      tool,
      outcome: 'abandoned',
      latencyMs,
    });
  }

  /** What a server says unasked and may. */
  told(peer: VerifiedSvid, message: Message): void {
    this.#note(peer, randomUUID(), 'decided', { from: 'server', ...describe(message), allow: true });
  }

  dropped(peer: VerifiedSvid, message: Message | undefined, detail: string): void {
    const what = message === undefined ? {} : describe(message);
    this.#note(peer, randomUUID(), 'dropped', { from: 'server', ...what, allow: false, detail });
  }

  refused(peer: VerifiedSvid | undefined, error: IdentityError, message: Message | undefined): void {
    const what = message === undefined ? {} : describe(message);
    const { code, message: detail } = error;
    this.#note(peer, randomUUID(), 'refused', { from: 'client', ...what, allow: false, code, detail });
  }

  /** Of what has happened already: a record that fails is an alarm, and undoes nothing. */
  #note(peer: VerifiedSvid | undefined, id: string, stage: CallEvent['stage'], fields: Fields): void {
    try {
      this.#event(peer, id, stage, fields);
    } catch (error) {
      this.#log.error({ err: error, stage }, 'an event could not be recorded');
    }
  }

  #event(peer: VerifiedSvid | undefined, id: string, stage: CallEvent['stage'], fields: Fields): void {
    const time = this.#clock.now();
    this.#record({
      id,
      stage,
      time,
      caller: peer?.id,
      serial: peer?.serial,
      server: this.#server,
      ...fields,
    });
  }
}

type Fields = Omit<CallEvent, 'id' | 'stage' | 'time' | 'caller' | 'serial' | 'server'>;

export interface Decided {
  readonly policy: Policy;
  readonly session: string | undefined;
  readonly bytes: number;
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
