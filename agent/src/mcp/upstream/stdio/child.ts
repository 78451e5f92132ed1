/** One running stdio MCP server: each line in and out is one JSON-RPC message (2025-11-25, transports, "stdio"). */
import { type ChildProcess, spawn } from 'node:child_process';
import { kill } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { atEnd } from '@chancery/shared/cli/process-io.ts';
import { withoutBom } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import {
  type Id,
  type Message,
  type Notification,
  type Request,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { answeredIn, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { subscriptionOf } from '@chancery/shared/mcp/subscription.ts';
import { beginsAsJson, LineReader } from '../../wire/lines.ts';
import { skippedLog } from '../../wire/skipped.ts';
import { CANCELLED, cancelledId, withProgressToken } from '../numbering.ts';
import { type Back, badAnswer, type CommandTarget, MAX_ANSWER_BYTES, MAY_HAVE_ACTED } from '../upstream.ts';
import { OpenRequests, type Waiting } from './open-requests.ts';
import { logOutputOf } from './server-log.ts';
import { Unheard } from './unheard.ts';

/** How long the process has to end by itself, and then by SIGTERM. */
const GRACE_MS = 2_000;
/** How long the output from before the exit is read. */
const LAST_WORDS_MS = 500;
const NOWHERE = { id: undefined, retry: undefined };

/** `answered`: it answered at least once. Else `failed` if it ended by itself, and `stopped` if we ended it. */
export type HowEnded = 'answered' | 'failed' | 'stopped';

/** One process of a stdio server. The constructor starts it; `stop` ends it and its process group. */
export class Child {
  readonly #process: ChildProcess;
  readonly #log: Log;
  readonly #skip: (what: string) => void;
  readonly #exited: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  #how: HowEnded = 'failed';
  readonly #requests = new OpenRequests();
  #listener: Back | undefined;
  readonly #unheard = new Unheard();

  constructor({ command: [file, ...args], env, account }: CommandTarget, log: Log) {
    this.#log = log;
    this.#skip = skippedLog(log, 'the MCP server');
    // A process group of its own, so that everything the command starts ends with it.
    this.#process = spawn(file, args, {
      env,
      detached: true,
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
    });
    if (this.#process.stderr !== null) logOutputOf(this.#process.stderr, log);
    const tooLarge = (outlines: readonly Outline[]): void =>
      this.#unreadable(
        outlines,
        new IdentityError('mcp_size', `a line of more than ${MAX_ANSWER_BYTES} bytes`),
      );
    const lines = new LineReader((line) => this.#line(line), MAX_ANSWER_BYTES, tooLarge);
    this.#process.stdout?.on('data', (chunk: Buffer) => lines.push(chunk));
    this.#process.stdin?.on('error', (error) => log.debug({ err: error }, 'the MCP server stopped reading'));
    this.#process.on('error', (error) => log.error({ err: error, file }, 'the MCP server could not be run'));
    // For an agent that ends without stopping it.
    const kept = atEnd(() => this.#kill('SIGKILL'));
    this.#exited = new Promise((resolve) => {
      this.#process.once('error', () => resolve());
      this.#process.once('close', () => resolve());
      this.#process.once('exit', () => {
        // Ends the processes that it started and left behind.
        this.#kill('SIGKILL');
        // A process that left the group may hold the pipes open.
        setTimeout(() => this.#letGo(), LAST_WORDS_MS).unref();
      });
    });
    this.#exited.then(() => {
      kept();
      this.#end();
    });
  }

  /** True if no request waits for an answer. */
  get idle(): boolean {
    return this.#requests.idle;
  }

  /** Calls back once, when the process has ended, also if it has ended already. */
  onEnd(listener: (how: HowEnded) => void): void {
    this.#ended.promise.then(() => listener(this.#how));
  }

  #isStopped(): void {
    if (this.#how === 'failed') this.#how = 'stopped';
  }

  /** `renumber` gives requests ids of our own: several clients of one caller share the process. */
  send(message: Message | undefined, back: Back, { renumber }: { renumber: boolean }): void {
    if (message === undefined) return;
    const unread = this.#process.stdin?.writableLength ?? 0;
    ensure(unread <= MAX_ANSWER_BYTES, 'rate', `the MCP server has ${unread} bytes to read`);
    // Bytes that the process has not read cannot be taken back.
    back.onLost(() => {
      this.#isStopped();
      this.#kill('SIGKILL');
    });
    const sent = () => back.sent();
    if (message.kind !== 'request') {
      const cancels = message.kind === 'notification' && message.method === CANCELLED;
      if (!cancels) this.write(message, sent);
      else if (!this.#cancel(message, renumber, sent)) sent();
      back.answer(202, undefined);
      return;
    }
    const { id, waiting } = this.#requests.open(message, back, renumber);
    back.onClose(() => this.#left(id, waiting, renumber));
    this.write(withProgressToken({ ...message, id }, waiting.token), sent);
  }

  /** The newest listener gets the messages that belong to no request. */
  listen(back: Back): void {
    this.#listener?.end();
    this.#listener = back;
    back.onClose(() => {
      if (this.#listener === back) this.#listener = undefined;
    });
    back.open();
    for (const message of this.#unheard.take()) back.event(NOWHERE, message);
  }

  /** Calls `sent` when the process has read the message, or no longer can. */
  write(message: Message, sent: () => void = () => {}): void {
    const { stdin } = this.#process;
    if (stdin === null) sent();
    else stdin.write(`${writeMessage(message)}\n`, () => sent());
  }

  /**
   * Ends the process: closes its input, as the specification says, then sends SIGTERM and SIGKILL. Resolves when the
   * process is gone.
   */
  async stop(): Promise<void> {
    this.#isStopped();
    const gone = this.#exited.then(() => true);
    this.#process.stdin?.end();
    if (await Promise.race([gone, sleep(GRACE_MS, false, { ref: false })])) return;
    this.#kill('SIGTERM');
    if (await Promise.race([gone, sleep(GRACE_MS, false, { ref: false })])) return;
    this.#kill('SIGKILL');
    await gone;
  }

  #letGo(): void {
    for (const pipe of this.#process.stdio) pipe?.destroy();
  }

  #line(bytes: Uint8Array): void {
    const line = withoutBom(bytes);
    if (!beginsAsJson(line)) {
      this.#skip('a line that is not a message');
      return;
    }
    let message: Message;
    try {
      message = readMessage(line, MAX_ANSWER_BYTES, 'server');
    } catch (error) {
      this.#unreadable(outlinesOf(line), error);
      return;
    }
    if (message.kind === 'response') this.#answer(message);
    else if (message.kind === 'notification') this.#tell(message);
    else this.#ask(message);
  }

  /** A question goes to the newest open request: a client that answers one waits there. */
  #ask(question: Request): void {
    const newest = this.#requests.newest;
    if (newest === undefined) this.#say(question);
    else this.#stream(newest, question);
  }

  /** Fails only the calls that this line answers. */
  #unreadable(outlines: readonly Outline[], error: unknown): void {
    const failed = answeredIn(outlines).map((id) => {
      const waiting = this.#requests.fail(id);
      waiting?.back.fail(badAnswer(error));
      return waiting;
    });
    if (!failed.some((waiting) => waiting !== undefined))
      this.#skip(error instanceof Error ? error.message : String(error));
  }

  #answer(response: Response): void {
    const waiting = response.id === undefined ? undefined : this.#requests.take(response.id);
    if (waiting === undefined) {
      this.#skip('an answer to no open request');
      return;
    }
    this.#how = 'answered';
    const answer = { ...response, id: waiting.id };
    if (!waiting.streaming) {
      waiting.back.answer(200, answer);
      return;
    }
    waiting.back.event(NOWHERE, answer);
    waiting.back.end();
  }

  /** Progress goes to the request that asked for it; other notifications go to the session. */
  #tell(notification: Notification): void {
    const known = this.#requests.byToken(notification.params?.['progressToken']);
    // Over stdio these name their subscription (2026-07-28, "Subscriptions").
    const subscriber = this.#requests.get(subscriptionOf(notification) ?? '');
    if (subscriber !== undefined) this.#stream(subscriber, notification);
    else if (known === undefined) {
      const askers = notification.method === LOG ? this.#requests.askersOf(notification) : [];
      if (askers.length === 0) this.#say(notification);
      for (const asker of askers) this.#stream(asker, notification);
    } else {
      const params = { ...notification.params, progressToken: known.progressToken ?? null };
      this.#stream(known, { ...notification, params });
    }
  }

  #stream(to: Waiting, notification: Notification | Request): void {
    if (!to.streaming) to.back.open();
    to.streaming = true;
    to.back.event(NOWHERE, notification);
  }

  /** Sends a message to the session. */
  #say(message: Message): void {
    if (this.#listener === undefined) this.#unheard.hold(message);
    else this.#listener.event(NOWHERE, message);
  }

  /**
   * A cancelled request gets no answer (2025-11-25, "Cancellation"), so its HTTP request ends here. If clients share
   * the process, an id that two of them use is ambiguous and cancels nothing: such a client cancels by closing its
   * request. False if nothing is written.
   */
  #cancel(notification: Notification, renumber: boolean, sent: () => void): boolean {
    const named = cancelledId(notification);
    const same = this.#requests.namedBy(named);
    const [only] = same;
    if (same.length > 1) return false;
    if (only === undefined) {
      // Its client has already left, and the id is the one that the child knows.
      if (renumber || named === undefined || !this.#requests.isOwed(named)) return false;
      this.write(notification, sent);
      return true;
    }
    const [id, { back }] = only;
    this.#requests.leave(id);
    this.write({ ...notification, params: { ...notification.params, requestId: id } }, sent);
    back.cancelled();
    return true;
  }

  /** Closing the answer cancels in the modern era (2026-07-28), but not in the legacy era. */
  #left(id: Id, waiting: Waiting, modern: boolean): void {
    if (this.#requests.get(id) !== waiting) return;
    this.#requests.leave(id);
    if (modern) this.write({ kind: 'notification', method: CANCELLED, params: { requestId: id } });
  }

  #end(): void {
    this.#ended.resolve();
    const says = 'the process of the MCP server ended';
    // Without a pid it was never run.
    const ended =
      this.#process.pid === undefined
        ? new IdentityError('mcp_upstream', says)
        : new IdentityError('mcp_outcome', `${says}; ${MAY_HAVE_ACTED}`);
    for (const { back } of this.#requests.takeAll()) back.fail(ended);
    this.#listener?.end();
  }

  #kill(signal: NodeJS.Signals): void {
    // The process group holds what it started in turn. There is none if the process could not be started.
    const { pid } = this.#process;
    if (pid === undefined) return;
    try {
      kill(-pid, signal);
    } catch (error) {
      this.#log.debug({ err: refusalOf(error, 'internal', 'kill') }, 'the process group is gone');
    }
  }
}

const LOG = 'notifications/message';
