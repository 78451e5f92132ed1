import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { toolNamed } from '@chancery/shared/policy/call.ts';
import type { When } from '@chancery/shared/policy/condition/when.ts';
import { compileToolPattern } from '@chancery/shared/policy/patterns/tool.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { type Lines, Rules } from '@chancery/shared/policy/rules.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { countsAlone } from '../../../../../test/kit/mcp/world/counts.ts';
import { live, policyFor, STRANGER, TRIAGE } from '../../../../../test/kit/mcp/world/world.ts';
import type { CallEvent } from '../../call-event.ts';
import type { Gate } from '../exchange/gate.ts';
import { CallRecorder } from '../records/record.ts';
import { type Session, Sessions } from '../sessions.ts';
import { Subscriptions } from '../subscriptions.ts';
import { Tasks } from '../tasks.ts';
import { type Entering, enter } from './enter.ts';
import { nothingSeen } from './inbound.ts';

const peer = {
  id: TRIAGE,
  serial: '01',
  certificate: { notBefore: NOW },
  attested: NOT_ATTESTED,
} as VerifiedSvid;
const allowing = (version: bigint, ...allow: string[]): Policy => policyFor(1, { allow }, version);

let events: CallEvent[];
let isFull: boolean;
let policy: LiveValue<Policy>;
let sessions: Sessions;
let session: Session;
let gate: Gate;
/** Why the connection does not stand any more, and why the body is lost. */
let fallen: IdentityError | undefined;
let lost: IdentityError | undefined;
let unheard: IdentityError | undefined;
beforeEach(() => {
  events = [];
  isFull = false;
  fallen = undefined;
  lost = undefined;
  unheard = undefined;
  policy = live(allowing(7n, 'echo'));
  const clock = new ManualClock(NOW);
  const record = (...more: readonly CallEvent[]): void => {
    if (isFull) throw new IdentityError('file', 'the disk is full');
    events.push(...more);
  };
  const recorder = new CallRecorder({ server: 'everything', clock, record, log: silentLog });
  const counts = countsAlone();
  const limits = { max: 9, maxPerCaller: 9, idleSeconds: 60 };
  sessions = new Sessions({ server: 'everything', counts, limits, clock, onEnd: () => {} });
  session = sessions.open(peer, 'of the server', new Map());
  const freeText = { instructions: true, logs: true };
  const ensureHeard = (): void => {
    if (unheard !== undefined) throw unheard;
  };
  const [subscriptions, tasks] = [new Subscriptions(), new Tasks(clock)];
  const parts = {
    server: 'everything',
    policy,
    clock,
    recorder,
    sessions,
    counts,
    subscriptions,
    tasks,
    freeText,
    ensureHeard,
  };
  gate = parts as Partial<Gate> as Gate;
});

const ECHO = { kind: 'tool', name: 'echo' };
const call = (id: number, tool = 'echo', args: JsonObject = {}): Message => ({
  kind: 'request',
  id,
  method: 'tools/call',
  params: { name: tool, arguments: args },
});

/** A message of a client in its session. */
function entering(message: Message): Entering & { readonly end: () => [status: number, body: unknown] } {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  const end = vi.spyOn(res, 'end');
  return {
    ...{ message, era: 'legacy', peer, res, session, pending: session.pending, bytes: 1 },
    seen: { ...nothingSeen(new Socket()), message, source: '192.0.2.7' },
    ensureStands() {
      if (fallen !== undefined) throw fallen;
    },
    lost: () => lost,
    end: () => {
      const [body] = end.mock.calls[0] ?? [];
      return [res.statusCode, body === undefined ? undefined : JSON.parse(String(body))];
    },
  };
}

test('a call passes once it is recorded, and waits for its answer', async () => {
  const first = entering(call(1));
  const entered = enter(gate, first);
  expect(events).toEqual([]);
  expect(await entered).toEqual(call(1));
  expect(events).toMatchObject([{ stage: 'decided', allow: true, tool: 'echo', session: session.id }]);
  expect(session.pending.get(1)).toMatchObject({ recordId: events[0]?.id, what: ECHO });
  expect(first.seen).toMatchObject({ recordId: events[0]?.id, what: ECHO });
});

test('without a record no call passes, and none waits for an answer', async () => {
  isFull = true;
  await expect(enter(gate, entering(call(1)))).rejects.toThrow(/disk is full/);
  expect(session.pending.size).toBe(0);
});

const refusedAfterTheWait: readonly [string, (waiting: Entering) => void, string][] = [
  ['the certificate expires', () => (fallen = new IdentityError('expired_peer', 'x')), 'expired_peer'],
  ['the caller is revoked', () => (fallen = new IdentityError('revoked_peer', 'x')), 'revoked_peer'],
  ['the body has to give way', () => (lost = new IdentityError('rate', 'x')), 'rate'],
  [
    'I126 the CA is silent for too long',
    () => (unheard = new IdentityError('ca_unheard', 'x')),
    'ca_unheard',
  ],
  ['the session ends', () => sessions.close(session, 'x'), 'mcp_session'],
  ['the client leaves', ({ res }) => void res.destroy(), 'mcp_call'],
];
test.each(refusedAfterTheWait)(
  'a call does not pass where %s while it waits',
  async (_name, change, code) => {
    const waiting = entering(call(1));
    const entered = enter(gate, waiting);
    change(waiting);
    await expect(entered).rejects.toThrow(expect.objectContaining({ code }));
    expect([events, session.pending.size]).toEqual([[], 0]);
  },
);

test.each([
  ['denies its tool', () => allowing(8n, 'other'), 200],
  ['shuts its caller out', () => policyFor(1, { allow: ['*'] }, 8n, [STRANGER]), 403],
])('a call does not pass where a new policy %s while it waits', async (_name, next, status) => {
  const waiting = entering(call(1));
  const entered = enter(gate, waiting);
  policy.publish(next());
  expect(await entered).toBeUndefined();
  expect(waiting.end()).toMatchObject([status, { id: 1, error: { code: -31403 } }]);
  expect(events).toMatchObject([{ stage: 'decided', allow: false, policyVersion: 8 }]);
  expect(session.pending.size).toBe(0);
});

test('a call passes by the policy that came while it waited', async () => {
  const entered = enter(gate, entering(call(1, 'other')));
  policy.publish(allowing(8n, 'other'));
  expect(await entered).toBeDefined();
  expect(events).toMatchObject([{ allow: true, policyVersion: 8 }]);
});

test('M229 a call that is claimed while it waits is decided by the next certificate', async () => {
  const when = { when: 'caller.attributes.kubernetes.team == "red"' };
  policy.publish(policyFor(1, { allow: ['*'] }, 8n, [TRIAGE], when));
  const of = (team: string): VerifiedSvid => {
    const attributes = new Map([['kubernetes.team', team]]);
    return { ...peer, attested: { platform: 'kubernetes', attributes } };
  };
  const waiting = { ...entering(call(1)), peer: of('red') };
  const entered = enter(gate, waiting);
  waiting.seen.holder = of('blue');
  expect(await entered).toBeUndefined();
  waiting.seen.holder = of('red');
  expect(await enter(gate, waiting)).toEqual(call(1));
});

test('of two requests with one id in one turn, the second is refused and the first goes on', async () => {
  const [first, second] = [enter(gate, entering(call(1))), enter(gate, entering(call(1)))];
  await expect(second).rejects.toThrow(/a request with this id has no answer yet/);
  expect(await first).toBeDefined();
  expect(session.pending.get(1)?.recordId).toBe(events[0]?.id);
});

test('a notification passes though its client has left, for it has no answer', async () => {
  const waiting = entering({ kind: 'notification', method: 'notifications/initialized', params: undefined });
  const entered = enter(gate, waiting);
  waiting.res.destroy();
  expect(await entered).toBeDefined();
});

test('a notification that is denied gets 202 without a body', async () => {
  const waiting = entering({ kind: 'notification', method: 'exit', params: undefined });
  expect(await enter(gate, waiting)).toBeUndefined();
  expect(waiting.end()).toEqual([202, undefined]);
});

/** No resource makes such rules yet. */
function policyOf(lines: Partial<Lines>): Policy {
  const rules = new Rules({ allow: [], ask: [], deny: [], ...lines });
  return { ...allowing(9n, 'echo'), rulesFor: () => rules };
}
const pattern = compileToolPattern('echo');

test('a call that has to be approved is denied, and its record says that nobody was there to approve it', async () => {
  policy.publish(policyOf({ ask: [{ rule: 'careful', kind: 'tool', pattern }] }));
  const waiting = entering(call(1));
  expect(await enter(gate, waiting)).toBeUndefined();
  const reason = expect.stringMatching(/careful lets .* with an approval: echo; nobody can approve it here$/);
  expect(waiting.end()).toMatchObject([200, { error: { code: -31403, data: { rule: 'careful', reason } } }]);
  expect(events).toMatchObject([{ allow: false, approval: 'nobody', rule: 'careful', reason, tool: 'echo' }]);
  expect(session.pending.size).toBe(0);
});

test('a condition sees who calls what with what, when and in which session', async () => {
  const seen: object[] = [];
  const when: When = { text: 'sees', reads: new Set(), answer: (given) => seen.push(given) > 0 };
  policy.publish(policyOf({ allow: [{ rule: 'careful', kind: 'tool', pattern, when }] }));
  expect(await enter(gate, entering(call(1, 'echo', { message: 'hi' })))).toBeDefined();
  const [who, what] = [
    { caller: TRIAGE, certifiedAt: NOW, attested: NOT_ATTESTED, source: '192.0.2.7', session: session.id },
    { server: 'everything', what: toolNamed('echo') },
  ];
  expect(seen).toEqual([{ ...who, ...what, arguments: { message: 'hi' }, now: NOW }]);
});
