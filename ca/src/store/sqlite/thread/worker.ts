/**
 * The thread of the database: only `thread.ts` starts it. It answers what has arrived, then waits for more, so what
 * arrives while the disk is syncing shares the next transaction, and a lone write waits for nothing but a page of a
 * search.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { ReadCall, WriteCall } from '../calls.ts';
import { type DatabaseAt, Engine } from '../engine.ts';
import {
  crossing,
  type FromThread,
  type NumberedAnswer,
  type NumberedCall,
  type ToThread,
} from './messages.ts';

/** Reads that look through much, a page at a time. */
const SLOW: ReadonlySet<string> = new Set(['search'] satisfies readonly ReadCall['name'][]);

/** Bounds one transaction. */
const MAX_WRITES = 512;

function open(at: DatabaseAt, port: MessagePort): void {
  const say = (message: FromThread): void => port.postMessage(message);
  try {
    const engine = Engine.open(at, (step) => say({ kind: 'migrating', step }));
    say({ kind: 'opened', files: engine.files });
    const reply = (answers: readonly NumberedAnswer[]): void => say({ kind: 'answers', answers });
    const searches = new Searches(({ number, call }) => {
      if (call.kind === 'read') reply([readOf(number, () => engine.read(call))]);
    });
    port.on('message', (first: ToThread) => {
      const { calls, copies, close } = gather(first, port);
      const isSlow = ({ call }: NumberedCall): boolean => call.kind === 'read' && SLOW.has(call.name);
      answer(
        engine,
        calls.filter((each) => !isSlow(each)),
        reply,
      );
      searches.add(calls.filter(isSlow));
      for (const path of copies)
        engine.copyTo(path).then(
          () => say({ kind: 'copied' }),
          (error) => say({ kind: 'copied', error: crossing(error) }),
        );
      if (!close) return;
      searches.finish();
      engine.close();
      port.close();
    });
  } catch (error) {
    say({ kind: 'refused', error: crossing(error) });
  }
}

/** Searches wait for all else: one is answered, then what has arrived meanwhile, then the next one. */
class Searches {
  readonly #answer: (search: NumberedCall) => void;
  readonly #waiting: NumberedCall[] = [];
  #next: NodeJS.Immediate | undefined;

  constructor(answer: (search: NumberedCall) => void) {
    this.#answer = answer;
  }

  add(searches: readonly NumberedCall[]): void {
    this.#waiting.push(...searches);
    if (this.#waiting.length > 0) this.#next ??= setImmediate(() => this.#one());
  }

  /** Answers all of them. */
  finish(): void {
    clearImmediate(this.#next);
    for (const each of this.#waiting.splice(0)) this.#answer(each);
  }

  #one(): void {
    this.#next = undefined;
    const [first] = this.#waiting.splice(0, 1);
    if (first !== undefined) this.#answer(first);
    this.add([]);
  }
}

interface Gathered {
  readonly calls: readonly NumberedCall[];
  /** Where copies of the database are to be written. */
  readonly copies: readonly string[];
  readonly close: boolean;
}

/** All that has arrived by now, in order; nothing comes after a close. */
function gather(first: ToThread, port: MessagePort): Gathered {
  const calls: NumberedCall[] = [];
  const copies: string[] = [];
  for (let message: ToThread | undefined = first; message !== undefined; message = next(port)) {
    if (message.kind === 'close') return { calls, copies, close: true };
    if (message.kind === 'copy') copies.push(message.path);
    else calls.push(...message.calls);
    if (calls.length >= MAX_WRITES) break;
  }
  return { calls, copies, close: false };
}

const next = (port: MessagePort): ToThread | undefined => receiveMessageOnPort(port)?.message;

/** Reads are answered before the disk is waited for. */
function answer(
  engine: Engine,
  calls: readonly NumberedCall[],
  reply: (answers: readonly NumberedAnswer[]) => void,
): void {
  const reads: NumberedAnswer[] = [];
  const writes: { readonly number: number; readonly call: WriteCall }[] = [];
  for (const { number, call } of calls)
    if (call.kind === 'write') writes.push({ number, call });
    else reads.push(readOf(number, () => engine.read(call)));
  if (reads.length > 0) reply(reads);
  while (writes.length > 0) {
    const batch = writes.splice(0, MAX_WRITES);
    const outcomes = engine.write(batch.map(({ call }) => call));
    reply(
      batch.map(({ number }, n) => {
        const { value, error } = outcomes[n] ?? {};
        return error === undefined ? { number, value } : { number, error: crossing(error) };
      }),
    );
  }
}

function readOf(number: number, read: () => unknown): NumberedAnswer {
  try {
    return { number, value: read() };
  } catch (error) {
    return { number, error: crossing(error) };
  }
}

if (parentPort !== null) open(workerData as DatabaseAt, parentPort);
