/**
 * The gate of a gateway behind plain HTTP on loopback, for one caller that needs no certificate: what it decides,
 * records and passes on is real, and the MCP server is what a test says.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { CallEvent } from '@chancery/agent/mcp/call-event.ts';
import { type Gate, type HeldLimits, heldBy } from '@chancery/agent/mcp/gateway/exchange/gate.ts';
import { Listeners } from '@chancery/agent/mcp/gateway/listeners.ts';
import { CallRecorder } from '@chancery/agent/mcp/gateway/records/record.ts';
import { handle } from '@chancery/agent/mcp/gateway/request/handle.ts';
import { type Begun, nothingSeen } from '@chancery/agent/mcp/gateway/request/inbound.ts';
import { Served } from '@chancery/agent/mcp/gateway/request/served.ts';
import { type Session, Sessions } from '@chancery/agent/mcp/gateway/sessions.ts';
import { States } from '@chancery/agent/mcp/gateway/states.ts';
import { Subscriptions } from '@chancery/agent/mcp/gateway/subscriptions.ts';
import { Tasks } from '@chancery/agent/mcp/gateway/tasks.ts';
import type { Back, Outbound, Upstream } from '@chancery/agent/mcp/upstream/upstream.ts';
import { refuse } from '@chancery/agent/mcp/wire/answer/reply.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import { errorResponse, type Message, type Response } from '@chancery/shared/mcp/message.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { NOW } from '../../certificates.ts';
import { ManualClock } from '../../manual-clock.ts';
import { countsAlone } from './counts.ts';
import { live, policyFor, TOOLS, TRIAGE, TrustDomainInMemory } from './world.ts';

/** What came to the MCP server, and the way back. */
export interface Passed {
  readonly how: 'send' | 'listen' | 'end';
  readonly outbound: Outbound;
  readonly back: Back;
}

export interface GateAnswer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

export interface OpenGate {
  readonly port: number;
  readonly gate: Gate;
  readonly policy: LiveValue<Policy>;
  readonly sessions: Sessions;
  readonly passed: Passed[];
  readonly refused: Response[];
  readonly ended: [session: Session, why: string][];
  /** Codes of what was refused before it was passed on. */
  readonly codes: string[];
  /** What `handle` was given of each request. */
  readonly begun: number[];
  /** What the MCP server does. It answers each request with an empty result until a test says otherwise. */
  serve: (passed: Passed) => void;
  /** All that is recorded. */
  events(): readonly CallEvent[];
  session(): Session;
  ask(options?: RequestOptions & { readonly body?: string | object }): Promise<GateAnswer>;
  close(): Promise<void>;
}

export const gatePeer = {
  id: TRIAGE,
  serial: '01',
  certificate: { notBefore: NOW },
  attested: NOT_ATTESTED,
} as VerifiedSvid;
const STANDARD = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

/** Node gives a GET none. */
const lengthOf = (body: string) => ({ 'content-length': Buffer.byteLength(body) });

/** Takes the message, and answers a request with an empty result. */
export const answerEmpty = ({ outbound: { message }, back }: Passed): void => {
  back.sent();
  const id = message?.kind === 'request' ? message.id : undefined;
  const answer: Message | undefined =
    id === undefined ? undefined : { kind: 'response', id, result: {}, error: undefined };
  back.answer(id === undefined ? 202 : 200, answer);
};

/** With `held` in the place of what bounds messages by default. The caller closes it. */
export async function openGate(held: HeldLimits = {}): Promise<OpenGate> {
  const clock = new ManualClock(NOW);
  const td = new TrustDomainInMemory();
  const [events, passed, refused]: [CallEvent[], Passed[], Response[]] = [[], [], []];
  const ended: [Session, string][] = [];
  const [codes, begun]: [string[], number[]] = [[], []];
  const policy = live(policyFor(1, { allow: ['echo'] }));
  const record = (...more: readonly CallEvent[]): void => void events.push(...more);
  const recorder = new CallRecorder({ server: 'everything', clock, record, log: silentLog });
  const counts = countsAlone();
  const limits = { max: 3, maxPerCaller: 3, idleSeconds: 60 };
  const sessions = new Sessions({
    server: 'everything',
    counts,
    limits,
    clock,
    onEnd: (session, why) => void ended.push([session, why]),
  });
  const opened = { policy, sessions, passed, refused, ended, codes, begun, serve: answerEmpty };
  const pass =
    (how: Passed['how']) =>
    (outbound: Outbound, back: Back): void => {
      const what = { how, outbound, back };
      passed.push(what);
      open.serve(what);
    };
  const upstream: Upstream = {
    maxSessions: 3,
    ...{ send: pass('send'), listen: pass('listen'), end: pass('end') },
    refuse: (_session, answer) => void refused.push(answer),
    forget: () => {},
    onSessionEnd: () => {},
    close: async () => {},
  };
  const maxRequestBytes = 10_000;
  const gate: Gate = {
    ...{ server: 'everything', policy, clock, recorder, sessions, counts, upstream, maxRequestBytes },
    freeText: { instructions: true, logs: true },
    ...heldBy(held, maxRequestBytes),
    listeners: new Listeners('everything'),
    subscriptions: new Subscriptions(),
    tasks: new Tasks(clock),
    ensureHeard: () => {},
    states: new States({
      svid: live(td.svid(TOOLS)),
      bundle: td.bundle,
      revocations: live(revocationSet([], 0n)),
      clock,
    }),
  };
  const served = new Served(gate);
  const server = createServer({ keepAlive: false });
  const take = (req: IncomingMessage, res: Begun['res']): void => {
    const seen = nothingSeen(req.socket);
    const at = begun.push(0) - 1;
    const begin = (): void => {
      begun[at] = (begun[at] ?? 0) + 1;
    };
    handle(served, { req, res, peer: gatePeer, begin, ensureStands: () => {} }, seen).catch((error) => {
      codes.push(isRefusal(error) ? error.code : String(error));
      const id = seen.message?.kind === 'request' ? seen.message.id : undefined;
      if (isRefusal(error)) refuse(res, error, id);
      else res.writeHead(500).end(JSON.stringify(errorResponse(id, { code: 0, message: String(error) })));
    });
  };
  server.on('request', take).on('checkContinue', take);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const open: OpenGate = Object.assign(opened, {
    port,
    gate,
    events() {
      recorder.close();
      return events;
    },
    session: () => sessions.open(gatePeer, 'of the server', new Map()),
    async ask({ body, headers = {}, ...options }: RequestOptions & { body?: string | object } = {}) {
      const where = { host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent: false as const };
      const sent = typeof body === 'object' ? JSON.stringify({ jsonrpc: '2.0', ...body }) : body;
      const length = sent === undefined || 'transfer-encoding' in headers ? {} : lengthOf(sent);
      const outgoing = request({ ...where, ...options, headers: { ...STANDARD, ...length, ...headers } });
      const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
      outgoing.end(sent);
      const [response] = await answered;
      return { status: response.statusCode, headers: response.headers, text: await text(response) };
    },
    async close() {
      sessions.stop();
      recorder.close();
      server.closeAllConnections();
      server.close();
    },
  });
  return open;
}
