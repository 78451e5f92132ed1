/** A caller asks which tools of a server it may call. It learns of each what the denial of a call says, and no more. */

import { ensure } from '@chancery/shared/ground/errors.ts';
import { toolNamed } from '@chancery/shared/policy/call.ts';
import { decideList, decideServer } from '@chancery/shared/policy/decide.ts';
import { type Decider, deciderOf, ensureFew } from '@chancery/shared/policy/decider.ts';
import { closed } from '@chancery/shared/policy/decision.ts';
import { ALLOWED, MAX_ASKED_BYTES, readAsked, type Told, writeAllowed } from '../../wire/allowed.ts';
import { writeJson } from '../../wire/answer/reply.ts';
import { BY_NAME } from '../../wire/endpoint.ts';
import { ensureJson } from '../../wire/http-body.ts';
import { whoOf, whoseOf } from '../whose.ts';
import { letIn } from './handle.ts';
import type { Begun, Seen } from './inbound.ts';
import type { Served } from './served.ts';

/** Whether a path asks this. */
export const asksAllowed = (path: string | undefined): boolean => path?.startsWith(ALLOWED) === true;

/** A question about fewer tools counts as one about so many: it has to evaluate the same conditions. */
const LEAST = 25;

/** Throws refusals, which the caller answers and records. */
export async function sayAllowed(served: Served, begun: Begun, seen: Seen): Promise<void> {
  const { req, res, peer, ensureStands } = begun;
  const named = served.named((req.url ?? '').slice(ALLOWED.length));
  seen.server = named.server;
  res.setHeader(BY_NAME, named.server);
  ensure(req.method === 'POST', 'mcp_method', 'the question is posted');
  const gate = letIn(served, named, begun);
  if (gate === undefined) return;
  ensureJson(req);
  const tools = readAsked(await gate.bodies.read(req, peer.id, MAX_ASKED_BYTES));
  ensureStands();
  gate.ensureHeard();
  // Checked again: the body comes after the head, and there may be another policy.
  if (letIn(served, named, begun) === undefined) return;
  const policy = gate.policy.current();
  const { server, clock, recorder } = gate;
  served.questions.spend(peer.id, 'asks which tools it may call', Math.max(LEAST, tools.length));
  const where = { ...whoseOf(peer, seen), server };
  const about = { policy, session: undefined, detail: 'asks which tools it may call' };
  recorder.decidedByHead(peer, 'POST', decideServer(policy, whoOf(peer), server), about);
  const decider = deciderOf(policy, { ...where, now: clock.now() });
  const told = tools.map((tool) => toldOf(decider, tool));
  writeJson(res, 200, writeAllowed({ any: decideList(policy, where, 'tool').allow, tools: told }));
}

/** By what is known before a call: neither arguments nor a session. */
function toldOf(decider: Decider, tool: string): Told {
  const may = decider.mayCall(toolNamed(tool));
  const denied = may === 'no' ? closed(decider.decide(toolNamed(tool))) : undefined;
  ensureFew(decider, 'a question about so many tools');
  return { tool, may, reason: denied?.reason, rule: denied?.rule };
}
