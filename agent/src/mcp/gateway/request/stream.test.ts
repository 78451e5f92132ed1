import { afterEach, beforeEach, expect, test } from 'vitest';
import { type OpenGate, openGate, type Passed } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { policyFor } from '../../../../../test/kit/mcp/world/world.ts';
import type { Session } from '../sessions.ts';

let open: OpenGate;
let session: Session;
beforeEach(async () => {
  open = await openGate();
  session = open.session();
  open.serve = endAtOnce;
});
afterEach(() => open.close());

const endAtOnce = ({ back }: Passed): void => {
  back.open();
  back.end();
};
const ask = (method: 'GET' | 'DELETE', headers: Record<string, string> = {}) =>
  open.ask({ method, headers: { 'mcp-session-id': session.id, ...headers } });

test('a stream is asked for in the session, and is on record', async () => {
  const { status, headers } = await ask('GET', { 'mcp-protocol-version': '2025-11-25', 'x-other': 'x' });
  expect([status, headers['content-type']]).toEqual([200, 'text/event-stream']);
  expect(open.passed).toMatchObject([{ how: 'listen' }]);
  expect(open.passed[0]?.outbound).toEqual({
    ...{ caller: session.caller, era: 'legacy', message: undefined, session: 'of the server' },
    headers: { 'mcp-protocol-version': '2025-11-25' },
  });
  const about = { stage: 'decided', httpMethod: 'GET', allow: true, session: session.id };
  expect(open.events()).toMatchObject([about]);
});

test('a stream goes on after the place that its client names', async () => {
  const id = Buffer.from('é1').toString('latin1');
  await ask('GET', { 'last-event-id': id });
  expect(open.passed[0]?.outbound.headers).toEqual({ 'last-event-id': id });
});

test.each<[string, 'GET' | 'DELETE', Record<string, string>, string]>([
  ['of a version that is not known', 'GET', { 'mcp-protocol-version': '2024-01-01' }, 'mcp_version'],
  ['in an unknown session', 'GET', { 'mcp-session-id': 'x' }, 'mcp_session'],
  ['in an unknown session', 'DELETE', { 'mcp-session-id': 'x' }, 'mcp_session'],
  ['that does not accept one', 'GET', { accept: 'application/json' }, 'mcp_accept'],
  ['after what is not a place', 'GET', { 'last-event-id': 'x'.repeat(1_025) }, 'mcp_parse'],
])('a stream %s is refused: %s', async (_name, method, headers, code) => {
  await ask(method, headers);
  expect([open.codes, open.passed]).toEqual([[code], []]);
});

test('a place without a session is refused', async () => {
  await open.ask({ method: 'GET', headers: { 'last-event-id': 'e1' } });
  expect([open.codes, open.passed]).toEqual([['mcp_session'], []]);
});

test('DELETE ends the session, here and at the server', async () => {
  open.serve = ({ back }) => back.answer(204, undefined);
  expect((await ask('DELETE', { accept: 'application/json' })).status).toBe(204);
  expect(open.passed).toMatchObject([{ how: 'end', outbound: { session: 'of the server' } }]);
  expect(open.ended).toEqual([[session, 'its client ended it']]);
  expect((await ask('DELETE')).status).toBe(404);
});

test('DELETE without a session ends none', async () => {
  open.serve = ({ back }) => back.answer(405, undefined);
  expect((await open.ask({ method: 'DELETE' })).status).toBe(405);
  expect(open.ended).toEqual([]);
});

test('the stream of a session ends with it', async () => {
  open.serve = ({ back }) => back.open();
  const waiting = ask('GET');
  await expect.poll(() => session.streams.size).toBe(1);
  open.sessions.close(session, 'x');
  expect((await waiting).status).toBe(200);
  await expect.poll(() => session.streams.size).toBe(0);
});

test('the client of a stream is told when its list changes, and only while it listens', async () => {
  let first: Passed | undefined;
  open.serve = (passed) => {
    first = passed;
    passed.back.open();
  };
  const waiting = ask('GET');
  await expect.poll(() => first).toBeDefined();
  const next = policyFor(1, { allow: ['other'] }, 2n);
  open.policy.publish(next);
  open.gate.listeners.policyChanged(next);
  first?.back.end();
  expect((await waiting).text).toContain('notifications/tools/list_changed');
});

test('a server that fails fails the stream, which its client asks for again', async () => {
  open.serve = () => {
    throw new TypeError('odd');
  };
  expect((await ask('GET')).status).toBe(500);
  expect(open.codes).toEqual([]);
});
