/** One HTTP request at an MCP endpoint. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ensureLegacyMethod } from '@chancery/shared/mcp/era.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Denied } from '@chancery/shared/policy/decision.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { denial, writeJson } from '../../wire/answer/reply.ts';
import { BY_NAME } from '../../wire/endpoint.ts';
import type { Gate } from '../exchange/gate.ts';
import { whoOf } from '../whose.ts';
import { readHead } from './head.ts';
import type { Begun, Inbound, Seen } from './inbound.ts';
import { post } from './post.ts';
import type { Named, Served } from './served.ts';
import { stream } from './stream.ts';

const MAX_SKIPPED_BYTES = 64 * 1024;

/** Throws refusals, which the caller answers and records. */
export async function handle(served: Served, begun: Begun, seen: Seen): Promise<void> {
  const { req, res, peer } = begun;
  const named = served.find(req.url);
  seen.server = named.server;
  if (named.byName) res.setHeader(BY_NAME, named.server);
  const gate = letIn(served, named, begun);
  if (gate === undefined) return;
  const head = readHead(req);
  const asking = { ...begun, head, seen };
  const { method, mcp } = head;
  if (method === 'POST') return post(gate, asking);
  ensure(method === 'GET' || method === 'DELETE', 'mcp_method', 'neither POST nor GET nor DELETE');
  ensureLegacyMethod(mcp.version);
  // The body is not used, but the request ends only with its body.
  await gate.bodies.read(req, peer.id, MAX_SKIPPED_BYTES);
  begun.begin();
  stream(gate, asking);
}

/**
 * Tier 1, by the head of the request: the body of a caller that no rule allows is not read. Undefined if the request
 * has been answered. By its name, a server that is not here is denied as one that the caller may not reach: it learns
 * of none.
 */
export function letIn(served: Served, named: Named, { req, res, peer }: Inbound): Gate | undefined {
  const { gate, server } = named;
  const { recorder, policy: source } = gate ?? served.first;
  const policy = source.current();
  const entered = gate === undefined ? notHere(server) : decideServer(policy, whoOf(peer), server);
  if (entered.allow) return gate;
  const { method, bytes = Number.POSITIVE_INFINITY } = readHead(req);
  const recordId = recorder.decidedByHead(peer, method, entered, { policy, session: undefined });
  // Node skips an unread body; a long one is not worth the wait.
  if (!(bytes <= MAX_SKIPPED_BYTES)) res.setHeader('connection', 'close');
  const told = named.byName ? unreachable(peer.id, server) : entered;
  writeJson(res, 403, denial(undefined, told, recordId));
  return undefined;
}

const denied = (reason: string): Denied => ({ allow: false, rule: undefined, reason });

const notHere = (server: string): Denied => denied(`server ${server} is not behind this gateway`);

const unreachable = (caller: SpiffeId, server: string): Denied =>
  denied(`no Access rule lets ${caller} reach server ${server}`);
