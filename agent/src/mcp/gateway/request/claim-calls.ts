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
import type { Gate } from '../exchange/gate.ts';
import { deniedMeanwhile } from '../judge/judge.ts';
import type { Allows, ClaimTerms } from '../peers/open-call.ts';
import type { Peers } from '../peers/peers.ts';
import { letIn } from './handle.ts';

/** Whether the policy lets a caller use something of `server`, or reach the server at all where nothing is given. */
export const allowsBy =
  (policy: Policy, server: string, now: Date): Allows =>
  ({ id: caller, certificate }, call) => {
    if (call?.what === undefined) return decideServer(policy, caller, server).allow;
    const { what, session, source } = call;
    const whose = { caller, certifiedAt: certificate.notBefore, source };
    return deniedMeanwhile(policy, { ...whose, server, what, session, now }) === undefined;
  };

/** The terms by the current policy. */
export const termsOf = ({ policy, server, recorder, clock }: Gate): ClaimTerms => ({
  allows: allowsBy(policy.current(), server, clock.now()),
  record: (next, { recordId }) => recorder.claimed(next, recordId),
});

/** Throws refusals, which the caller answers and records. */
export async function claimCalls(
  gate: Gate,
  peers: Peers,
  { req, res, peer }: { req: IncomingMessage; res: ServerResponse; peer: VerifiedSvid },
): Promise<void> {
  ensure(req.method === 'POST', 'mcp_method', 'claims are posted');
  if (!letIn(gate, { req, res, peer })) return;
  ensureJson(req);
  const secrets = readClaims(await gate.bodies.read(req, peer.id, MAX_CLAIM_BYTES));
  const { socket } = req;
  ensure(socket instanceof TLSSocket, 'no_peer', 'a claim without TLS');
  const claimed = secrets.map((secret) => {
    try {
      peers.claim(socket, secret, termsOf(gate));
      return true;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      gate.recorder.refused(peer, error);
      return false;
    }
  });
  writeJson(res, 200, writeClaimed(claimed));
}
