/** One running stdio MCP server: a JSON-RPC message a line in, a line out (2025-11-25, transports, "stdio"). */
import { type ChildProcess, spawn } from 'node:child_process';
import { kill } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import { isJsonObject } from '@chancery/shared/json.ts';
import type { Log } from '@chancery/shared/log.ts';
import {
  type Id,
  type Message,
  type Notification,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { LineReader } from '../wire/lines.ts';
import { type Back, type CommandTarget, MAX_ANSWER_BYTES } from './upstream.ts';

/** How long it gets to end by itself, and then by SIGTERM. */
const GRACE_MS = 2_000;
const NOWHERE = { id: undefined, retry: undefined };

interface Waiting {
  readonly back: Back;
  /** The client's own, which the child may not have seen. */
  readonly id: Id;
  readonly progressToken: Id | undefined;
  streaming: boolean;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #log: Log;
  readonly #exited: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #waiting = new Map<Id, Waiting>();
  #listener: Back | undefined;
  #nextId = 1;

  constructor({ command: [file, ...args], env }: CommandTarget, log: Log) {
    this.#log = log;
    // A group of its own, so that what the command starts ends with it.
    this.#process = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    const lines = new LineReader((line) => this.#line(line), MAX_ANSWER_BYTES);
    this.#process.stdout?.on('data', (chunk: Buffer) => this.#read(lines, chunk));
    this.#process.stdin?.on('error', (error) => log.debug({ err: error }, 'the MCP server stopped reading'));
    this.#process.on('error', (error) => log.error({ err: error, file }, 'the MCP server could not be run'));
    // What it started and left behind ends with it, whoever ended it.
    this.#process.once('exit', () => this.#kill('SIGKILL'));
    this.#exited = new Promise((resolve) => {
      this.#process.once('error', () => resolve());
      this.#process.once('close', () => resolve());
    });
    this.#exited.then(() => this.#end());
  }

  get idle(): boolean {
    return this.#waiting.size === 0;
  }

  /** It has exited, or what it says is listened to no more. */
  onEnd(listener: () => void): void {
    this.#ended.promise.then(listener);
  }

  /** `renumber` gives requests ids of our own, where several clients of one caller share the process. */
  send(message: Message | undefined, back: Back, { renumber }: { renumber: boolean }): void {
    if (message === undefined) return;
    const unread = this.#process.stdin?.writableLength ?? 0;
    ensure(unread <= MAX_ANSWER_BYTES, 'rate', `the MCP server has ${unread} bytes to read`);
    if (message.kind !== 'request') {
      this.write(message);
      back.answer(202, undefined);
      return;
    }
    const id = renumber ? this.#nextId++ : message.id;
    const meta = message.params?.['_meta'];
    const token = isJsonObject(meta) ? meta['progressToken'] : undefined;
    const progressToken = typeof token === 'string' || typeof token === 'number' ? token : undefined;
    const waiting = { back, id: message.id, progressToken, streaming: false };
    this.#waiting.set(id, waiting);
    back.onClose(() => this.#left(id, waiting, renumber));
    this.write({ ...message, id });
  }

  /** The newest listener gets what belongs to no request. */
  listen(back: Back): void {
    this.#listener?.end();
    this.#listener = back;
    back.onClose(() => {
      if (this.#listener === back) this.#listener = undefined;
    });
    back.open();
  }

  write(message: Message): void {
    this.#process.stdin?.write(`${writeMessage(message)}\n`);
  }

  /** First by closing its input, as the specification has it, then harder. Resolves when the process is gone. */
  async stop(): Promise<void> {
    const gone = this.#exited.then(() => true);
    this.#process.stdin?.end();
    if (await Promise.race([gone, sleep(GRACE_MS, false, { ref: false })])) return;
    this.#kill('SIGTERM');
    if (await Promise.race([gone, sleep(GRACE_MS, false, { ref: false })])) return;
    this.#kill('SIGKILL');
    await gone;
  }

  #read(lines: LineReader, chunk: Buffer): void {
    try {
      lines.push(chunk);
    } catch (error) {
      // What could not be read may have been the answer that somebody waits for, so nobody goes on waiting.
      this.#log.error({ err: error }, 'the MCP server wrote what cannot be read; its session ends');
      this.#kill('SIGKILL');
      this.#end();
    }
  }

  #line(line: Uint8Array): void {
    if (line[0] !== BRACE) {
      this.#log.warn({ bytes: line.length }, 'the MCP server wrote a line that is no message');
      return;
    }
    const message = readMessage(line, MAX_ANSWER_BYTES);
    if (message.kind === 'response') this.#answer(message);
    else if (message.kind === 'notification') this.#tell(message);
    else this.#listener?.event(NOWHERE, message);
  }

  #answer(response: Response): void {
    const waiting = response.id === undefined ? undefined : this.#waiting.get(response.id);
    if (response.id === undefined || waiting === undefined) {
      this.#log.warn({}, 'the MCP server answered what nobody waits for');
      return;
    }
    this.#waiting.delete(response.id);
    const answer = { ...response, id: waiting.id };
    if (!waiting.streaming) {
      waiting.back.answer(200, answer);
      return;
    }
    waiting.back.event(NOWHERE, answer);
    waiting.back.end();
  }

  /** Progress goes to the request that asked for it; the rest has no addressee but the session. */
  #tell(notification: Notification): void {
    const token = notification.params?.['progressToken'];
    const waiting =
      token === undefined
        ? undefined
        : [...this.#waiting.values()].find(({ progressToken }) => progressToken === token);
    if (waiting === undefined) {
      this.#listener?.event(NOWHERE, notification);
      return;
    }
    if (!waiting.streaming) waiting.back.open();
    waiting.streaming = true;
    waiting.back.event(NOWHERE, notification);
  }

  /** In the modern era closing the answer cancels (2026-07-28); in the legacy one it does not. */
  #left(id: Id, waiting: Waiting, modern: boolean): void {
    if (this.#waiting.get(id) !== waiting) return;
    this.#waiting.delete(id);
    if (modern)
      this.write({ kind: 'notification', method: 'notifications/cancelled', params: { requestId: id } });
  }

  #end(): void {
    this.#ended.resolve();
    const ended = new IdentityError('mcp_upstream', 'the MCP server ended');
    for (const { back } of this.#waiting.values()) back.fail(ended);
    this.#waiting.clear();
    this.#listener?.end();
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#process;
    if (pid === undefined) return;
    try {
      kill(-pid, signal);
    } catch (error) {
      this.#log.debug({ err: refusalOf(error, 'internal', 'kill') }, 'the process group is gone');
    }
  }
}

const BRACE = 0x7b;
