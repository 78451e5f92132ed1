/** A caller claims its open calls after it has renewed: one request, with one verdict for each secret. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { writeJson } from '../../wire/answer/reply.ts';
import { MAX_CLAIM_BYTES, readClaims, writeClaimed } from '../../wire/claims.ts';
import { ensureJson } from '../../wire/http-body.ts';
import { deniedMeanwhile } from '../judge/judge.ts';
import type { Allows, ClaimTerms } from '../peers/open-call.ts';
import type { Peers } from '../peers/peers.ts';
import { whoOf, whoseOf } from '../whose.ts';
import { letIn } from './handle.ts';
import type { Named, Served } from './served.ts';

/** Whether the policy lets a caller go on with an open call at its server, or reach any of these servers. */
export const allowsBy =
  (policy: Policy, servers: readonly string[], now: Date): Allows =>
  (peer, call) => {
    const reaches = (server: string): boolean => decideServer(policy, whoOf(peer), server).allow;
    if (call === undefined) return servers.some(reaches);
    const { server, what, session } = call;
    if (server === undefined) return true;
    if (what === undefined) return reaches(server);
    return deniedMeanwhile(policy, { ...whoseOf(peer, call), server, what, session, now }) === undefined;
  };

/** The terms by the current policy. */
export const termsOf = (served: Served): ClaimTerms => ({
  allows: allowsBy(
    served.first.policy.current(),
    served.gates.map(({ server }) => server),
    served.first.clock.now(),
  ),
  record: (next, { server, recordId }) => served.gateOf(server).recorder.claimed(next, recordId),
});

/** Throws refusals, which the caller answers and records. */
export async function claimCalls(
  served: Served,
  peers: Peers,
  { req, res, peer }: { req: IncomingMessage; res: ServerResponse; peer: VerifiedSvid },
): Promise<void> {
  ensure(req.method === 'POST', 'mcp_method', 'claims are posted');
  const gate = letIn(served, reachedBy(served, peer), { req, res, peer });
  if (gate === undefined) return;
  ensureJson(req);
  const secrets = readClaims(await gate.bodies.read(req, peer.id, MAX_CLAIM_BYTES));
  const { socket } = req;
  ensure(socket instanceof TLSSocket, 'no_peer', 'a claim without TLS');
  const claimed = secrets.map((secret) => {
    try {
      peers.claim(socket, secret, termsOf(served));
      return true;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      gate.recorder.refused(peer, error);
      return false;
    }
  });
  writeJson(res, 200, writeClaimed(claimed));
}

/**
 * A server that the caller may reach: claims belong to the listener, and go on or end with their calls. Throws mcp_call
 * if there are several and it may reach none: it learns no name of theirs.
 */
function reachedBy({ gates, first }: Served, peer: VerifiedSvid): Named {
  const reached = gates.find(
    ({ policy, server }) => decideServer(policy.current(), whoOf(peer), server).allow,
  );
  const gate = reached ?? (gates.length === 1 ? first : undefined);
  ensure(gate !== undefined, 'mcp_call', `no Access rule lets ${peer.id} reach a server of this gateway`);
  return { server: gate.server, gate, byName: false };
}
