/** The raw wire of a streaming call, so that a test can say what no agent of ours would. */
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { expect } from 'vitest';
import type { TestCa } from './ca.ts';

export interface Talk<Req, Res> {
  send(message: Req): void;
  /** The next message. Throws the status that the call ended with. */
  next(): Promise<Res>;
  /** Waits for the status that ends the call. */
  status(): Promise<grpc.StatusObject>;
  end(): void;
  cancel(): void;
}

export function talk<Req, Res>(call: grpc.ClientDuplexStream<Req, Res>): Talk<Req, Res> {
  const messages: Res[] = [];
  const waiting: (() => void)[] = [];
  let ended: grpc.StatusObject | undefined;
  const wake = (): void => {
    for (const each of waiting.splice(0)) each();
  };
  const change = () => new Promise<void>((resolve) => waiting.push(resolve));
  call.on('data', (message: Res) => {
    messages.push(message);
    wake();
  });
  call.on('error', () => {});
  call.on('status', (status: grpc.StatusObject) => {
    ended = status;
    wake();
  });
  return {
    send: (message) => void call.write(message),
    end: () => call.end(),
    cancel: () => call.cancel(),
    next: async () => {
      for (;;) {
        const message = messages.shift();
        if (message !== undefined) return message;
        if (ended !== undefined) throw Object.assign(new Error(ended.details), { code: ended.code });
        await change();
      }
    },
    status: async () => {
      while (ended === undefined) await change();
      return ended;
    },
  };
}

/**
 * The peer got the table's status and sentence and no more but a reference, under which the audit log has the reason.
 * Some tests know the sentence only.
 */
export async function expectRefusal(
  ca: TestCa,
  status: Pick<grpc.StatusObject, 'code' | 'details'>,
  code: Refusal,
  detail: RegExp,
): Promise<void> {
  const { grpc: name, says } = REFUSALS[code];
  const last = await lastRefusal(ca);
  expect(last).toMatchObject({ code, detail: expect.stringMatching(detail) });
  const [told, reference = last?.reference] = status.details.split(/ \(reference ([0-9a-f]{8})\)$/);
  expect({ status: grpc.status[status.code], says: told, reference }).toEqual({
    status: name,
    says,
    reference: last?.reference ?? expect.anything(),
  });
}

async function lastRefusal(ca: TestCa) {
  // The refusal is answered before its audit entry is on disk; the next commit is behind it.
  await ca.store.append({ type: 'registry.applied', version: 0, changes: [], by: 'the test, as a fence' });
  return (await ca.refusals()).at(-1);
}
