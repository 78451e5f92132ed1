/** Entries of every type as OCSF, judged by the published JSON Schemas. */
import { readFileSync } from 'node:fs';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { entryText } from '@chancery/shared/audit/leaves.ts';
import { ocsfOf } from '@chancery/shared/audit/ocsf.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { NOW } from '../kit/certificates.ts';

const schemaOf = (name: string) =>
  JSON.parse(readFileSync(new URL(`../vectors/ocsf/${name}.schema.json`, import.meta.url), 'utf8')) as object;
// "deprecated" is not strict; the schemas name no other format than text.
const ajv = new Ajv2020({ strict: false, allErrors: true });
const validators = {
  6003: ajv.compile(schemaOf('api-activity-6003')),
  3002: ajv.compile(schemaOf('authentication-3002')),
} as const;

const id = parseSpiffeId('spiffe://prod.example/web');
const serial = '40231f0be537b1f565b7feff8280814cd5';
const hex = 'ab'.repeat(32);
const notAfter = '2026-11-30T02:00:00.000Z';
const node = { platform: 'tpm', node: 'n1' };
const by = 'alice';
const refused = {
  type: 'request.refused',
  code: 'rate',
  detail: 'too many',
  peer: '192.0.2.7:4433',
} as const;
const record = {
  id: '5c1f',
  time: NOW.toISOString(),
  server: 'git',
  caller: id,
  tool: 'read',
  latencyMs: 1.5,
};
const call = { type: 'call.recorded', reporter: id, serial, spool: 'ab'.repeat(16), number: 1 } as const;

type Row = readonly [AuditEvent, 6003 | 3002, number, object];
const ROWS: readonly Row[] = [
  [
    { type: 'svid.issuing', id, serial, notAfter, ...node, identity: 'web', tbs: hex },
    6003,
    1,
    { status_id: 0 },
  ],
  [{ type: 'svid.issued', serial, sha256: hex }, 6003, 1, { status_id: 1 }],
  [{ type: 'svid.failed', serial, detail: 'x' }, 6003, 1, { status_id: 2, status_detail: 'x' }],
  [
    { type: 'node.attested', ...node, attributes: { a: 'b' }, evidence: hex },
    3002,
    1,
    { status_id: 1, user: { name: 'n1', uid: 'tpm/n1' } },
  ],
  [
    { ...refused, rpc: 'Attest' },
    3002,
    1,
    { status_code: 'rate', src_endpoint: { ip: '192.0.2.7', port: 4433 } },
  ],
  [
    { ...refused, rpc: 'Revoke', peer: '[2001:db8::1]:9' },
    6003,
    99,
    { src_endpoint: { ip: '2001:db8::1', port: 9 } },
  ],
  [
    { ...refused, rpc: 'Watch', peer: 'uid 7', count: 9, since: notAfter },
    6003,
    99,
    { count: 9, severity_id: 3 },
  ],
  [
    { type: 'operator.acting', verb: 'revoke', about: 'x', by },
    6003,
    99,
    { api: { operation: 'revoke', service: { name: 'chancery-ca' } } },
  ],
  [
    { type: 'operator.signedIn', id, by, role: 'reader', servers: [], authTime: notAfter, key: hex },
    3002,
    1,
    { user: { name: by, uid: id } },
  ],
  [{ type: 'registry.applied', version: 2, changes: ['x'], by }, 6003, 3, { actor: { user: { name: by } } }],
  [{ type: 'authority.certifying', kind: 'root', serial, notAfter, tbs: hex }, 6003, 1, { status_id: 0 }],
  [
    { type: 'authority.certified', kind: 'root', serial, notAfter },
    6003,
    1,
    { actor: { app_name: 'chancery-ca' } },
  ],
  [
    { type: 'authority.moved', moves: [{ serial, from: 'active', to: 'retiring' }] },
    6003,
    3,
    { status_id: 1 },
  ],
  [
    { type: 'revocation.made', number: 1, target: { kind: 'id', value: id }, reason: 'superseded', by },
    6003,
    1,
    { resources: [{ type: 'id', name: id }] },
  ],
  [
    { type: 'revocation.lifted', number: 1, target: { kind: 'id', value: id }, by },
    6003,
    4,
    { status_id: 1 },
  ],
  [{ type: 'ca.restored', life: 2, backup: notAfter, entries: 0, by }, 6003, 99, { status_id: 1 }],
  [
    { ...call, record: { ...record, stage: 'decided', allow: true, arguments: { '/repo': 'acme/x' } } },
    6003,
    99,
    {
      status_id: 1,
      duration: 2,
      actor: { user: { uid: id } },
      api: {
        operation: 'read',
        service: { name: 'git' },
        request: { uid: '5c1f', data: { '/repo': 'acme/x' } },
      },
    },
  ],
  [
    { ...call, record: { ...record, stage: 'decided', allow: false, code: 'no_rule' } },
    6003,
    99,
    { status_id: 2 },
  ],
];

describe.each([1_234, undefined])('with index %s', (index) => {
  test.each(ROWS)('%o is one event of class %i, activity %i', (event, uid, activity, has) => {
    const entry = entryText(NOW, JSON.stringify(event));
    const made = ocsfOf(entry, index);
    expect(made).toMatchObject({
      ...has,
      class_uid: uid,
      activity_id: activity,
      raw_data: entry,
      time: NOW.getTime(),
    });
    const validate = validators[uid];
    validate(JSON.parse(JSON.stringify(made)));
    expect(validate.errors ?? []).toEqual([]);
  });
});

const victim = parseSpiffeId('spiffe://prod.example/victim');
const at = '2026-05-01T00:00:00.000Z';
const told = { ...record, caller: victim, time: at, serial, stage: 'decided', allow: true } as const;
test.each<[string, AuditEvent, object, object]>([
  [
    'its own call',
    { ...call, record: { ...told, since: at, count: 3 } },
    { reporter: { name: id }, original_time: at, logged_time: NOW.getTime(), correlation_uid: '5c1f' },
    {
      status_id: 1,
      actor: { user: { uid: victim } },
      src_endpoint: { name: victim },
      start_time: Date.parse(at),
    },
  ],
  [
    'a call of a server of another',
    { ...call, foreign: true, record: told },
    { reporter: { name: id }, labels: ['foreign'] },
    { status_id: 0, actor: { app_name: id }, src_endpoint: { name: id } },
  ],
  [
    'a refusal of a stranger',
    {
      ...call,
      record: { ...record, time: at, caller: '', stage: 'refused', address: '192.0.2.7', code: 'mcp_parse' },
    },
    { reporter: { name: id } },
    { actor: { app_name: id }, src_endpoint: { ip: '192.0.2.7' } },
  ],
  [
    'what no honest gateway says',
    { ...call, record: { ...told, since: 'x', count: -5, latencyMs: 1e300, time: 'x' } },
    { reporter: { name: id } },
    { time: NOW.getTime() },
  ],
])('I174 a gateway reports %s', (_, event, metadata, has) => {
  const made = ocsfOf(entryText(NOW, JSON.stringify(event)), 1);
  expect(made).toMatchObject({ time: Date.parse(at), ...('time' in has ? has : {}) });
  expect(made).toMatchObject({ metadata, ...has });
  // A call is not a certificate, and has nothing that its reporter made up as a number.
  expect(made['resources']).toBeUndefined();
  expect(Object.values(made).filter((value) => typeof value === 'number' && value < 0)).toEqual([]);
  const validate = validators[6003];
  validate(JSON.parse(JSON.stringify(made)));
  expect(validate.errors ?? []).toEqual([]);
});

test('an event that was cut because it is too long is one as well', () => {
  const long = { type: 'registry.applied', version: 2, changes: ['x'.repeat(70_000)], by: 'a' };
  const made = ocsfOf(entryText(NOW, JSON.stringify(long)), 1);
  expect(made).toMatchObject({ class_uid: 6003, activity_id: 3 });
  validators[6003](made);
  expect(validators[6003].errors ?? []).toEqual([]);
});

test('the judge sees a missing, an unknown and a wrong field', () => {
  const good = ocsfOf(entryText(NOW, JSON.stringify(ROWS[0]?.[0])), 1);
  const { time: _, ...timeless } = good;
  for (const spoiled of [timeless, { ...good, chancery: 1 }, { ...good, severity_id: 42 }])
    expect(validators[6003](spoiled)).toBe(false);
});
