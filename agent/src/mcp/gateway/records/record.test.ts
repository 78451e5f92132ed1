import { setImmediate } from 'node:timers/promises';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { type Response, writeMessage } from '@chancery/shared/mcp/message.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { TRIAGE, TrustDomainInMemory } from '../../../../../test/kit/mcp/world.ts';
import { type CallEvent, sha256 } from '../../call-event.ts';
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

const td = new TrustDomainInMemory();
const peer = verifySvid(td.svid(TRIAGE).chain, td.bundle.current(), new Date());
function answered(id: number | string, response: Partial<Response> = {}): void {
  const asked = {
    recordId: `record ${id}`,
    method: 'tools/call',
    tool: 'echo',
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
