/** What an agent says to a CA that may have been restored, by what that CA answers. */
import type { HandBackRequest, HandBackResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import type { Held } from '../state/owed.ts';
import { handBack } from './hand-back.ts';

const revoked = {
  ...{ number: 1n, kind: 'id', value: 'spiffe://prod.example/gone', serials: [] },
  ...{ reason: 'keyCompromise', until: 0n },
};
const held: Held = { sequence: 7n, note: 'signed', list: [revoked], checkpoint: 'newest' };

/** A CA that answers so, one time after the other, and what it was sent. */
function caThat(...answers: readonly (HandBackResponse | grpc.status)[]) {
  const asked: HandBackRequest[] = [];
  const call = {
    write: (request: HandBackRequest) => void asked.push(request),
    end: () => {},
    cancel: () => {},
    async *[Symbol.asyncIterator]() {
      for (const answer of answers) {
        const about = { code: answer, details: 'no', metadata: new grpc.Metadata() };
        if (typeof answer === 'number') throw Object.assign(new Error('no'), about);
        yield answer;
      }
    },
  };
  const client = { handBack: () => call } as unknown as Parameters<typeof handBack>[0];
  return { asked, client };
}
const handing = { toHandBack: () => [held], handedBack: () => {} };
const [WANTS, DOES_NOT] = [{ wantsRevocations: true }, { wantsRevocations: false }];

test('a CA that has nothing to ask for is told the number alone, without the list', async () => {
  const { asked, client } = caThat(DOES_NOT, DOES_NOT);
  expect(await handBack(client, handing, silentLog)).toBe(false);
  expect(asked).toMatchObject([
    { revocations: { sequence: 7n, note: 'signed', list: [] }, checkpoint: 'newest' },
  ]);
});

test('a CA that was restored gets all of it', async () => {
  const { asked, client } = caThat(WANTS, DOES_NOT);
  expect(await handBack(client, handing, silentLog)).toBe(true);
  expect(asked.map(({ revocations }) => revocations?.list)).toEqual([[], [revoked]]);
});

test('an agent that has nothing signed says nothing', async () => {
  const { asked, client } = caThat(WANTS);
  expect(await handBack(client, { ...handing, toHandBack: () => [] }, silentLog)).toBe(false);
  expect(asked).toEqual([]);
});

test.each([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.CANCELLED])(
  'a CA that cannot answer for now (%s) has nothing of it',
  async (status) => {
    const outcomes: string[] = [];
    const told = { ...handing, handedBack: (_: Held, outcome: string) => void outcomes.push(outcome) };
    await expect(handBack(caThat(status).client, told, silentLog)).rejects.toThrow();
    await expect(handBack(caThat(WANTS, status).client, told, silentLog)).rejects.toThrow();
    expect(outcomes).toEqual(['failed', 'failed']);
  },
);

test('I274 where the CA is busy at an older one, the newest that the agent has is kept, too', async () => {
  const newest: Held = { ...held, sequence: 9n, note: 'newest' };
  const outcomes: [bigint, string][] = [];
  const told = {
    toHandBack: () => [held, newest],
    handedBack: ({ sequence }: Held, outcome: string) => void outcomes.push([sequence, outcome]),
  };
  const { asked, client } = caThat(grpc.status.RESOURCE_EXHAUSTED);
  await expect(handBack(client, told, silentLog)).rejects.toThrow();
  expect(outcomes).toEqual([
    [7n, 'failed'],
    [9n, 'failed'],
  ]);
  expect(asked).toHaveLength(1);
});

test.each([
  [grpc.status.UNIMPLEMENTED, 0],
  [grpc.status.INVALID_ARGUMENT, 1],
])(
  'a CA that takes nothing back (%s) is followed all the same, and %i lines say so',
  async (status, lines) => {
    const warn = vi.spyOn(silentLog, 'warn');
    expect(await handBack(caThat(status).client, handing, silentLog)).toBe(false);
    expect(warn).toHaveBeenCalledTimes(lines);
    warn.mockRestore();
  },
);
