import { setImmediate } from 'node:timers/promises';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { type Message, type Response, writeMessage } from '@chancery/shared/mcp/message.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { policyFor, TRIAGE, TrustDomainInMemory } from '../../../../../test/kit/mcp/world/world.ts';
import { type CallEvent, sha256 } from '../../call-event.ts';
import type { Ruling } from './fields.ts';
import { CallRecorder } from './record.ts';

let written: (readonly CallEvent[])[];
let recorder: CallRecorder;
/** What the log says of records that could not be written. */
let lost: object[];
let full: boolean;
beforeEach(() => {
  written = [];
  lost = [];
  full = false;
  const record = (...events: readonly CallEvent[]): void => {
    if (full) throw new Error('ENOSPC');
    written.push(events);
  };
  const log = { ...silentLog, error: (fields: object) => void lost.push(fields) };
  recorder = new CallRecorder({ server: 'everything', clock: new ManualClock(NOW), record, log });
});

const ECHO = { kind: 'tool', name: 'echo' } as const;
const td = new TrustDomainInMemory();
const peer = verifySvid(td.svid(TRIAGE).chain, td.bundle.current(), new Date());
function answered(id: number | string, response: Partial<Response> = {}): void {
  const asked = {
    recordId: `record ${id}`,
    method: 'tools/call',
    what: ECHO,
    requestId: id,
    startedMs: performance.now(),
  };
  const empty: Response = { kind: 'response', id, result: {}, error: undefined };
  const whole = { ...empty, ...response } as Response;
  recorder.answered(peer, asked, whole, writeMessage(whole));
}
const ids = (): string[][] => written.map((events) => events.map(({ id }) => id));

test('answers of one turn are written together, after it', async () => {
  answered(1);
  answered(2);
  expect(ids()).toEqual([]);
  await setImmediate();
  expect(ids()).toEqual([['record 1', 'record 2']]);
  answered(3);
  await setImmediate();
  expect(ids().slice(1)).toEqual([['record 3']]);
});

test('what is answered and not yet written is written at the end', async () => {
  answered(1);
  recorder.close();
  expect(ids()).toEqual([['record 1']]);
  await setImmediate();
  expect(written).toHaveLength(1);
});

test('the log says how many records a full disk lost, and the ids of the first', async () => {
  full = true;
  for (let id = 1; id <= 30; id += 1) answered(id);
  await setImmediate();
  const ids = Array.from({ length: 20 }, (_, index) => `record ${index + 1}`);
  expect(lost).toMatchObject([{ stage: 'answered', count: 30, ids }]);
});

test.each<[string, number | string, Response['result']]>([
  ['of the result alone', 1, { content: [{ type: 'text', text: 'hi' }], isError: false }],
  ['of no result', 2, {}],
  ['of a result that has one', 3, { result: { result: 'x' } }],
  ['under an id that looks like one', '"result":{}', { content: [] }],
])('an answer is recorded with the digest %s', async (_name, id, result) => {
  answered(id, { result } as Partial<Response>);
  await setImmediate();
  const resultSha256 = sha256(JSON.stringify(result));
  expect(written.flat()).toMatchObject([
    { stage: 'answered', outcome: 'result', requestId: id, resultSha256 },
  ]);
});

test('an error is recorded with its code and no digest', async () => {
  answered(1, { result: undefined, error: { code: -32602, message: 'x', data: { result: {} } } });
  await setImmediate();
  expect(written.flat()).toMatchObject([{ outcome: 'error', rpcCode: -32602, resultSha256: undefined }]);
});

const ruling = (allow: boolean): Ruling => ({
  decision: allow ? { allow, rule: 'r', reason: 'x' } : { allow, rule: 'r', reason: 'x' },
  use: { kind: 'tool', name: 'echo', arguments: {} },
  reaches: true,
  bytes: 1,
  policy: policyFor(1, { allow: ['*'] }, 7n),
  session: 's',
});
const call: Message = { kind: 'request', id: 1, method: 'tools/call', params: undefined };

test.each([
  ['allowed call has a record', true, 3],
  ['kind of denial has one record', false, 1],
])('each %s of its own', async (_name, allow, count) => {
  const given: string[] = [];
  const rule = (id: string): Ruling => {
    given.push(id);
    return ruling(allow);
  };
  const decide = () => recorder.decided(peer, call, rule);
  const decided = await Promise.all([decide(), decide(), decide()]);
  expect(new Set(given).size).toBe(3);
  expect(new Set(decided.map(({ recordId }) => recordId)).size).toBe(count);
  expect(written.flat()).toHaveLength(count);
  expect(written.flat()[0]).toMatchObject({
    stage: 'decided',
    allow,
    tool: 'echo',
    policyVersion: 7,
    session: 's',
  });
});

test('a call has one end, whatever comes after it', async () => {
  const asked = { recordId: 'a', method: 'tools/call', what: ECHO, requestId: 1, startedMs: 0 };
  const empty: Response = { kind: 'response', id: 1, result: {}, error: undefined };
  recorder.unanswered(peer, asked, 'abandoned');
  recorder.unanswered(peer, asked, 'unknown', 'cut');
  recorder.answered(peer, asked, empty, writeMessage(empty));
  await setImmediate();
  expect(written.flat()).toMatchObject([{ id: 'a', outcome: 'abandoned', from: 'client' }]);
});

test('a response that is dropped is on record by its id', () => {
  recorder.dropped(peer, { kind: 'response', id: 9, result: {}, error: undefined }, 'x');
  expect(written.flat()).toMatchObject([{ stage: 'dropped', kind: 'response', requestId: 9, detail: 'x' }]);
});
