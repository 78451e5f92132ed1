/** One HTTP request at the MCP endpoint. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ensureLegacyMethod } from '@chancery/shared/mcp/era.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { denial, writeJson } from '../../wire/answer/reply.ts';
import type { Gate } from '../exchange/gate.ts';
import { readHead } from './head.ts';
import type { Begun, Inbound, Seen } from './inbound.ts';
import { post } from './post.ts';
import { stream } from './stream.ts';

/** The only path, so that a proxy in front cannot read it differently. */
const ENDPOINT = '/mcp';
const MAX_SKIPPED_BYTES = 64 * 1024;

/** Throws refusals, which the caller answers and records. */
export async function handle(gate: Gate, begun: Begun, seen: Seen): Promise<void> {
  const { req, peer } = begun;
  ensure(req.url === ENDPOINT, 'server_unknown', 'another path than the endpoint');
  if (!letIn(gate, begun)) return;
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

/** Tier 1, by the head of the request: the body of a caller that no rule allows is not read. */
export function letIn(gate: Gate, { req, res, peer }: Inbound): boolean {
  const policy = gate.policy.current();
  const entered = decideServer(policy, peer.id, gate.server);
  if (entered.allow) return true;
  const { method, bytes = Number.POSITIVE_INFINITY } = readHead(req);
  const recordId = gate.recorder.decidedByHead(peer, method, entered, { policy, session: undefined });
  // Node skips an unread body; a long one is not worth the wait.
  if (!(bytes <= MAX_SKIPPED_BYTES)) res.setHeader('connection', 'close');
  writeJson(res, 403, denial(undefined, entered, recordId));
  return false;
}
