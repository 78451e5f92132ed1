import { expect, test } from 'vitest';
import { rowOf } from './query.ts';

const AT = '2026-06-01T12:00:01.000Z';
const TIME = '2026-06-01T12:00:00.500Z';
const REPORTER = 'spiffe://a/gateway';
const CALLER = 'spiffe://a/agent';
const OF = `time=${TIME} server=files`;
const BY = `caller=${CALLER} reporter=${REPORTER}`;

const call = (record: object, more = {}): string => {
  const event = { reporter: REPORTER, serial: '40aa', spool: 'ab'.repeat(16), number: 7, ...more };
  const always = { id: 'c1', time: TIME, server: 'files', caller: CALLER, session: 's', requestId: 3 };
  return JSON.stringify({ at: AT, type: 'call.recorded', ...event, record: { ...always, ...record } });
};

test.each<[string, string, string]>([
  [
    'an allowed call',
    call({
      stage: 'decided',
      method: 'tools/call',
      tool: 'read',
      allow: true,
      rule: 'readers',
      policyVersion: 9,
    }),
    `${OF} tool=read stage=decided decision=allowed rule=readers ${BY}`,
  ],
  [
    'a denied call',
    call({ stage: 'decided', method: 'tools/call', tool: 'write', allow: false, reason: 'no rule' }),
    `${OF} tool=write stage=decided decision=denied ${BY}`,
  ],
  [
    'an answer',
    call({ stage: 'answered', method: 'tools/call', tool: 'read', outcome: 'result', latencyMs: 3 }),
    `${OF} tool=read stage=answered outcome=result ${BY}`,
  ],
  [
    'a message that is no call of a tool',
    call({ stage: 'decided', method: 'tools/list', allow: true, rule: 'readers' }),
    `${OF} method=tools/list stage=decided decision=allowed rule=readers ${BY}`,
  ],
  [
    'a record whose words would look like other fields',
    call({ stage: 'decided', tool: 'x decision=allowed', allow: false }, { foreign: true }),
    `${OF} tool="x decision=allowed" stage=decided decision=denied ${BY} foreign=true`,
  ],
  [
    'a record that stands for several',
    call({ stage: 'refused', httpMethod: 'POST', code: 'message_parse', count: 12 }),
    `${OF} stage=refused code=message_parse count=12 ${BY}`,
  ],
  [
    'a record that was cut',
    JSON.stringify({ at: AT, type: 'call.recorded', reporter: REPORTER, bytes: 70000, sha256: 'ab' }),
    `reporter=${REPORTER} bytes=70000 sha256=ab`,
  ],
  [
    'another entry',
    JSON.stringify({ at: AT, type: 'revocation.made', number: 1, target: { kind: 'id', value: CALLER } }),
    `number=1 target={"kind":"id","value":"${CALLER}"}`,
  ],
])('the row of %s', (_, text, about) => {
  const type = (JSON.parse(text) as { type: string }).type;
  expect(rowOf({ index: 4n, text })).toEqual(['4', AT, type, about]);
});
