import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Message, Request, Response } from '@chancery/shared/mcp/message.ts';
import { listChanged } from '@chancery/shared/mcp/subscription.ts';
import { toolNamed, type What } from '@chancery/shared/policy/call.ts';
import { compileWhen, type When } from '@chancery/shared/policy/condition/when.ts';
import { compileToolPattern } from '@chancery/shared/policy/patterns/tool.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { type Line, type Lines, Rules } from '@chancery/shared/policy/rules.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { countsAlone } from '../../../../../test/kit/mcp/world/counts.ts';
import { live, policyFor, TRIAGE } from '../../../../../test/kit/mcp/world/world.ts';
import { CallRecorder } from '../records/record.ts';
import { type Pending, type PendingRequest, type Session, Sessions } from '../sessions.ts';
import type { ExchangeFacts, Gate } from './gate.ts';
import { Passing } from './passing.ts';

const peer = {
  id: TRIAGE,
  serial: '01',
  certificate: { notBefore: NOW },
  attested: NOT_ATTESTED,
} as VerifiedSvid;
const clock = new ManualClock(NOW);
let events: object[];
let refusedUpstream: [session: string | undefined, answer: Response][];
let policy: LiveValue<Policy>;
let recorder: CallRecorder;
let gate: Gate;
let session: Session;
beforeEach(() => {
  [events, refusedUpstream] = [[], []];
  policy = live(policyFor(1, { allow: ['echo', 'get-*'], deny: ['get-env'] }));
  const record = (...more: readonly object[]): void => void events.push(...more);
  recorder = new CallRecorder({ server: 'everything', clock, record, log: silentLog });
  const limits = { max: 9, maxPerCaller: 9, idleSeconds: 60 };
  const sessions = new Sessions({
    server: 'everything',
    counts: countsAlone(),
    limits,
    clock,
    onEnd: () => {},
  });
  session = sessions.open(peer, 'of the server', new Map());
  const upstream = {
    refuse: (...refusal: [string | undefined, Response]) => void refusedUpstream.push(refusal),
  };
  const freeText = { instructions: true, logs: false };
  gate = { server: 'everything', policy, clock, recorder, freeText, upstream } as unknown as Gate;
});

const request = (id: number | string, method: string): Request => ({
  kind: 'request',
  id,
  method,
  params: undefined,
});
const FROM = { source: '192.0.2.7' };
const ECHO = { kind: 'tool', name: 'echo' } as const;
const asked = ({ id, method }: Request, what?: What): [number | string, PendingRequest] => [
  id,
  { recordId: `record ${id}`, requestId: id, method, what, startedMs: performance.now() },
];
/** The exchange of a request that waits for its answer, with these others. */
function passing(own: Request | undefined, changes: Partial<ExchangeFacts> & { what?: What } = {}): Passing {
  const { what, ...facts } = changes;
  const pending: Pending = new Map(own === undefined ? [] : [asked(own, what)]);
  const all = { peer, era: 'legacy', request: own, session, pending, call: FROM, ...facts } as const;
  const passes = new Passing(gate, all);
  passes.session = all.session;
  return passes;
}
const result = (id: number | string, members: JsonObject = {}): Response => ({
  kind: 'response',
  id,
  result: members,
  error: undefined,
});
const error = (id: number | string | undefined, data?: JsonObject): Response => ({
  kind: 'response',
  id,
  result: undefined,
  error: { code: -32603, message: 'boom', data },
});
const notification = (method: string, params?: JsonObject): Message => ({
  kind: 'notification',
  method,
  params,
});
const json = (text: string | undefined) => (text === undefined ? undefined : JSON.parse(text));
/** What was recorded, with what is still to be written. */
const recorded = (): readonly object[] => {
  recorder.close();
  return events;
};

describe('what a server says', () => {
  test('passes where a server may say it, and is on record', () => {
    const said = notification('notifications/progress', { progressToken: 1 });
    expect(json(passing(undefined).pass(said))).toMatchObject({ method: 'notifications/progress' });
    expect(recorded()).toMatchObject([{ stage: 'decided', from: 'server', allow: true }]);
  });

  test.each(['notifications/resources/updated', 'notifications/message'])('%s is dropped', (method) => {
    expect(passing(undefined).pass(notification(method))).toBeUndefined();
    const detail = `a server may not send ${method}`;
    expect(recorded()).toMatchObject([{ stage: 'dropped', method, detail }]);
  });

  test('that it tells of the list of tools makes a subscription', () => {
    const own = request(1, 'subscriptions/listen');
    const listens = { lists: ['tool', 'resource'], uris: [] } as const;
    const pending = new Map([[1, { ...asked(own)[1], listens }]]);
    const listen = passing(own, { era: 'modern', session: undefined, pending });
    const changed = notification('notifications/tools/list_changed');
    expect(listen.pass(changed)).toBeUndefined();
    expect(listen.own(listChanged('tool'))).toBeUndefined();
    const params = { notifications: { toolsListChanged: true, promptsListChanged: true } };
    expect(listen.pass(notification('notifications/subscriptions/acknowledged', params))).toBeDefined();
    expect(listen.agreed).toEqual({ lists: ['tool'], uris: [] });
    expect(listen.pass(changed)).toBeDefined();
    expect(listen.own(listChanged('tool'))).toContain('subscriptionId');
    expect(listen.own(listChanged('prompt'))).toBeUndefined();
  });

  test('that it is there is asked in a session, whose client may answer', () => {
    expect(json(passing(undefined).pass(request('p', 'ping')))).toMatchObject({ id: 'p', method: 'ping' });
    expect(session.questions.take('p')).toMatchObject({ method: 'ping' });
    expect(recorded()).toMatchObject([{ allow: true }]);
    expect(refusedUpstream).toEqual([]);
  });

  test('is refused where no rule lets it ask', () => {
    const passes = passing(request(1, 'tools/call'), { what: ECHO });
    expect(passes.pass(request('p', 'sampling/createMessage'))).toBeUndefined();
    expect(session.questions.size).toBe(0);
    const reason = `no Access rule lets ${TRIAGE} be asked for sampling during echo of server everything`;
    expect(recorded()).toMatchObject([
      { stage: 'decided', from: 'server', allow: false, reason, tool: 'echo' },
    ]);
    expect(refusedUpstream).toMatchObject([
      ['of the server', { id: 'p', error: { code: -31403, data: { reason } } }],
    ]);
  });

  test('is refused where it asks without a session', () => {
    expect(passing(undefined, { session: undefined }).pass(request('p', 'ping'))).toBeUndefined();
    const reason = 'a server may not ask ping here';
    expect(recorded()).toMatchObject([{ stage: 'dropped', method: 'ping', detail: reason }]);
    expect(refusedUpstream).toMatchObject([[undefined, { id: 'p', error: { data: { reason } } }]]);
  });

  test('gets no answer in the modern era, which has none', () => {
    const said = passing(undefined, { era: 'modern', session: undefined }).pass(request('p', 'ping'));
    expect([said, refusedUpstream, recorded().length]).toEqual([undefined, [], 1]);
  });
});

describe('an answer', () => {
  const call = request(1, 'tools/call');

  test('of a call passes as it is, and is its record', () => {
    const passes = passing(call, { what: ECHO });
    expect(json(passes.pass(result(1, { content: [], more: 1 })))).toMatchObject({
      id: 1,
      result: { content: [], more: 1 },
    });
    expect([passes.answered, passes.outcome]).toEqual([true, 'result']);
    expect(recorded()).toMatchObject([
      { id: 'record 1', stage: 'answered', outcome: 'result', tool: 'echo' },
    ]);
  });

  test('passes once', () => {
    const passes = passing(call, { what: ECHO });
    passes.pass(result(1));
    expect(passes.pass(result(1))).toBeUndefined();
    expect(recorded()).toMatchObject([{ stage: 'dropped' }, { stage: 'answered' }]);
  });

  test.each<[string, Response]>([
    ['to nothing that was asked', result(99)],
    ['that names no request', error(undefined)],
  ])('%s is dropped', (_name, response) => {
    const passes = passing(call, { what: ECHO });
    expect(passes.pass(response)).toBeUndefined();
    expect([passes.answered, passes.outcome]).toEqual([false, undefined]);
    const detail = 'an answer to nothing that was asked here';
    expect(recorded()).toMatchObject([{ stage: 'dropped', detail }]);
  });

  test('to another request of the session passes, and is not the end of this one', () => {
    const other = request(2, 'tools/call');
    const pending: Pending = new Map([asked(call, toolNamed('echo')), asked(other, toolNamed('echo'))]);
    const passes = passing(call, { pending });
    expect(json(passes.pass(result(2)))).toMatchObject({ id: 2 });
    expect([passes.answered, [...pending.keys()]]).toEqual([false, [1]]);
  });

  test('that is an error has that outcome', () => {
    const passes = passing(call, { what: ECHO });
    expect(json(passes.pass(error(1, { any: 'data' })))).toMatchObject({ error: { data: { any: 'data' } } });
    expect([passes.answered, passes.outcome]).toEqual([true, 'error']);
  });

  test.each<What>([
    ECHO,
    { kind: 'resource', name: 'a:b' },
    { kind: 'prompt', name: 'greet' },
    { kind: 'completion', name: 'greet', of: 'prompt' },
  ])('of a use of a $kind that was denied meanwhile is a denial', (what) => {
    const passes = passing(call, { what });
    policy.publish(policyFor(1, { allow: ['other'] }, 2n));
    const { error: denied } = json(passes.pass(result(1, { secret: 'x' })));
    expect(denied).toMatchObject({ code: -31403, data: { decisionId: 'record 1' } });
    expect(passes.outcome).toBe('error');
  });
});

describe('a list of tools', () => {
  const list = request(1, 'tools/list');
  const names = ['echo', 'get-env', 'get-sum', 'other'];
  const tools = names.map((name) => ({ name, inputSchema: {} }));
  const listed = (changes: Partial<ExchangeFacts> = {}): unknown[] =>
    json(passing(list, changes).pass(result(1, { tools }))).result.tools.map(
      ({ name }: { name: string }) => name,
    );

  const line = (pattern: string, when?: When): Line => ({
    rule: 'r',
    kind: 'tool',
    pattern: compileToolPattern(pattern),
    ...(when === undefined ? {} : { when }),
  });
  const of = (lines: Partial<Lines>): Policy => ({
    ...policy.current(),
    rulesFor: () => new Rules({ allow: [], ask: [], deny: [], ...lines }),
  });
  const byArguments = compileWhen('args.owner == "a"');

  test('has those that its caller may call', () => {
    expect(listed()).toEqual(['echo', 'get-sum']);
  });

  test.each<[string, Partial<Lines>]>([
    ['are allowed by their arguments', { allow: [line('get-*', byArguments)] }],
    ['are denied by their arguments', { allow: [line('get-*')], deny: [line('*', byArguments)] }],
    ['need an approval', { ask: [line('get-*')] }],
  ])('has those that %s, which a list does not know', (_name, lines) => {
    policy.publish(of(lines));
    expect(listed()).toEqual(['get-env', 'get-sum']);
  });

  test('asks with the session and the time', () => {
    const seen: object[] = [];
    const sees: When = { text: 'sees', reads: new Set(), answer: (given) => seen.push(given) > 0 };
    policy.publish(of({ allow: [line('echo', sees)] }));
    expect(listed()).toEqual(['echo']);
    const certified = { certifiedAt: NOW, attested: NOT_ATTESTED, scope: undefined };
    const whose = { caller: TRIAGE, ...certified, source: '192.0.2.7' };
    const where = { ...whose, server: 'everything', session: session.id };
    expect(seen[0]).toEqual({ ...where, what: toolNamed('echo'), now: NOW });
    expect(listed({ session: undefined })).toEqual(['echo']);
    expect(seen.at(-1)).toMatchObject({ session: undefined });
  });

  test('is by the policy of when it comes', () => {
    policy.publish(policyFor(1, { allow: ['other'] }, 2n));
    expect(listed()).toEqual(['other']);
  });
});

describe('a body in the place of a stream', () => {
  const call = request(1, 'tools/call');

  test.each<[string, Message]>([
    ['a request', request(1, 'ping')],
    ['a notification', notification('notifications/progress')],
  ])('is no answer where it is %s', (_name, message) => {
    expect(passing(call, { what: ECHO }).passWhole(message)).toBeUndefined();
    const detail = 'a call in the place of an answer';
    expect(recorded()).toMatchObject([{ stage: 'dropped', detail }]);
  });

  test('is the result of the request by its id only', () => {
    expect(json(passing(call, { what: ECHO }).passWhole(result(1)))).toMatchObject({ id: 1, result: {} });
    expect(passing(call, { what: ECHO }).passWhole(result(2))).toBeUndefined();
  });

  test.each([undefined, 1, 99])('is an error of the request, by whatever id: %s', (id) => {
    const passes = passing(call, { what: ECHO });
    expect(json(passes.passWhole(error(id)))).toMatchObject({ id: 1, error: { message: 'boom' } });
    expect([passes.answered, passes.outcome]).toEqual([true, 'error']);
  });

  test('is an error without its data where nothing was asked', () => {
    expect(json(passing(undefined).passWhole(error(undefined, { tools: ['get-env'] })))).toEqual({
      jsonrpc: '2.0',
      id: null,
      error: { code: -32603, message: 'boom' },
    });
  });
});
