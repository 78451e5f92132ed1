/**
 * MCP over stdio for a client that started us, carried as Streamable HTTP to the gateway: a message a line in either
 * direction. Standard output carries messages and nothing else.
 */
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '@chancery/shared/clock.ts';
import { REFUSALS } from '@chancery/shared/errors.ts';
import type { Log } from '@chancery/shared/log.ts';
import {
  errorResponse,
  type Message,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { MAX_REQUEST_BYTES } from '../upstream/upstream.ts';
import { LineReader } from '../wire/lines.ts';
import type { Dialler } from './dial.ts';
import { Exchanges } from './stdio-exchange.ts';
import { StdioListen } from './stdio-listen.ts';

export interface StdioOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly dialler: Dialler;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StdioRelay {
  /** Resolves when the client has closed its side and the session has been ended. */
  readonly done: Promise<void>;
  close(): Promise<void>;
}

export function startStdio({ input, output, dialler, clock, log }: StdioOptions): StdioRelay {
  const write = (message: Message): boolean => output.write(`${writeMessage(message)}\n`);
  const exchanges = new Exchanges({ dialler, write, onDrain: (resume) => output.once('drain', resume) });
  const listen = new StdioListen({ dialler, clock, exchanges });
  let turn: Promise<void> = Promise.resolve();
  /** What comes before a request must have arrived before it; requests themselves run side by side. */
  const take = async (message: Message): Promise<void> => {
    const answered = exchanges.send(message);
    if (message.kind === 'request' && message.method !== 'initialize') return;
    await answered;
    if (message.kind === 'notification' && message.method === 'notifications/initialized') listen.start();
  };
  const lines = new LineReader((line) => {
    try {
      const message = readMessage(line, MAX_REQUEST_BYTES);
      turn = turn.then(() => take(message));
    } catch (error) {
      log.warn({ err: error }, 'the client wrote what cannot be read');
      write(unreadable());
    }
  }, MAX_REQUEST_BYTES);

  const done = new Promise<void>((resolve) => {
    let ending = false;
    const end = (): void => {
      if (ending) return;
      ending = true;
      listen.stop();
      exchanges.end().then(resolve);
    };
    input.on('data', (chunk: Buffer) => {
      try {
        lines.push(chunk);
      } catch (error) {
        // Where the next message begins cannot be known after this.
        log.error({ err: error }, 'the client wrote a line without end');
        input.destroy();
      }
    });
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

function unreadable(): Response {
  return errorResponse(undefined, { code: -32700, message: REFUSALS.mcp_parse.says });
}
