/**
 * MCP over stdio for a client that started this process, forwarded as Streamable HTTP to the gateway. Each line is one
 * message, in both directions. Standard output carries nothing but messages.
 */
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isNotJson } from '@chancery/shared/ground/json.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import {
  errorResponse,
  type Id,
  type Message,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { askedIn, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { LineReader } from '../../wire/lines.ts';
import type { Dialler } from '../dial.ts';
import { Exchanges } from './exchange.ts';
import { StdioListen } from './listen.ts';

export interface StdioOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly log: Log;
  /** The largest message. */
  readonly maxRequestBytes: number;
  /** Makes what the client talks to. */
  readonly peer: (client: StdioClient) => StdioPeer;
}

export interface StdioClient {
  /** Writes to the client. False asks for a pause until `onDrain`. */
  write(message: Message): boolean;
  /** Calls once, when the client has read enough. */
  onDrain(resume: () => void): void;
  /** True if the client has too much to read. */
  readonly full: () => boolean;
}

export interface StdioPeer {
  /** Resolves when the message is answered or accepted. Never rejects. */
  send(message: Message): Promise<void>;
  /** The client takes messages that it did not ask for. */
  ready(): void;
  /** Gives up open requests and ends its sessions. */
  end(): Promise<void>;
}

/** One server, over the connections of this dialler. The caller closes the dialler. */
export function oneServer({ dialler, clock, log }: ServerOptions): StdioOptions['peer'] {
  return (client) => {
    const exchanges = new Exchanges({ dialler, clock, log, ...client });
    const listen = new StdioListen({ dialler, clock, exchanges });
    return {
      send: (message) => exchanges.send(message),
      ready: () => listen.start(),
      end() {
        listen.stop();
        return exchanges.end();
      },
    };
  };
}

interface ServerOptions {
  readonly dialler: Dialler;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StdioRelay {
  /** Resolves when the client has closed its side and the session has been ended. */
  readonly done: Promise<void>;
  /** Ends the session at the gateway. Resolves when it has ended. */
  close(): Promise<void>;
}

/**
 * Relays one client until `input` ends or `close` is called. A message that cannot be read is answered with an error,
 * and the relay continues.
 */
export function startStdio(options: StdioOptions): StdioRelay {
  const { input, output, log, maxRequestBytes } = options;
  const write = (message: Message): boolean => output.write(`${writeMessage(message)}\n`);
  const peer = options.peer({ write, onDrain: drainOf(output), full: () => output.writableNeedDrain });
  let turn: Promise<void> = Promise.resolve();
  /** Messages before a request must arrive before it. Requests run concurrently. */
  const take = async (message: Message): Promise<void> => {
    const answered = peer.send(message);
    if (message.kind === 'request' && message.method !== 'initialize') return;
    await answered;
    if (message.kind === 'notification' && message.method === 'notifications/initialized') peer.ready();
  };
  /** Answers the requests that can be identified, and continues with the next line. */
  const unreadable = (outlines: readonly Outline[], error: unknown, code: number): void => {
    log.warn({ err: error }, 'skipped a message of the client that cannot be read');
    const text = error instanceof Error ? error.message : String(error);
    const refusal = (id: Id | undefined) => write(errorResponse(id, { code, message: text }));
    for (const id of askedIn(outlines)) refusal(id);
    if (outlines.length === 0) refusal(undefined);
  };
  const tooLong = (outlines: readonly Outline[]): void =>
    unreadable(
      outlines,
      new IdentityError('mcp_size', `the message has more than ${maxRequestBytes} bytes`),
      INVALID,
    );
  const onLine = (line: Uint8Array): void => {
    try {
      const message = readMessage(line, maxRequestBytes);
      turn = turn.then(() => take(message));
    } catch (error) {
      unreadable(outlinesOf(line), error, isNotJson(error) ? NO_JSON : INVALID);
    }
  };
  const lines = new LineReader(onLine, maxRequestBytes, tooLong);
  const done = new Promise<void>((resolve) => {
    let ending = false;
    const end = (): void => {
      if (ending) return;
      ending = true;
      peer.end().then(resolve);
    };
    input.on('data', (chunk: Buffer) => lines.push(chunk));
    input.once('end', end);
    input.once('close', end);
    output.once('error', end);
  });
  return {
    done,
    async close() {
      input.destroy();
      await done;
    },
  };
}

/** One listener for all that wait. */
function drainOf(output: Writable): (resume: () => void) => void {
  let waiting: (() => void)[] = [];
  output.on('drain', () => {
    const resumed = waiting;
    waiting = [];
    for (const resume of resumed) resume();
  });
  return (resume) => void waiting.push(resume);
}

/** JSON-RPC 2.0 section 5.1. */
const [INVALID, NO_JSON] = [-32600, -32700];
