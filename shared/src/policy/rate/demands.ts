/** Which rates one use counts against, and what is said of one that is above a rate. */
import type { Call } from '../call.ts';
import { inWords } from '../decide.ts';
import type { Allowed, Denied } from '../decision.ts';
import { lifted } from '../observe.ts';
import type { Policy } from '../policy.ts';
import type { Demand } from './rate.ts';

/**
 * The use counts against each rule with a rate whose own allow covers it, also where another rule allows it: it must be
 * within all. A condition that cannot be decided counts as one that holds.
 */
export function demandsOn(policy: Policy, call: Call): readonly Demand[] {
  const { caller, server, what } = call;
  const rules = policy.rulesFor(call, server);
  if (rules.rates.length === 0) return [];
  return rules.ratesOn(what).flatMap(({ rule, calls, ofTool, whens }) => {
    if (!whens.some((when) => when === undefined || when.answer(call) !== false)) return [];
    const whose = { server, rule, caller };
    return [
      ...(calls === undefined ? [] : [{ ...whose, tool: undefined, rate: calls }]),
      ...(ofTool === undefined ? [] : [{ ...whose, tool: what.name, rate: ofTool }]),
    ];
  });
}

/** The decision about a use that is above a rate for so long. A server that observes lets it pass. */
export function aboveRate(
  policy: Policy,
  call: Call,
  { demand, waitMs }: { readonly demand: Demand; readonly waitMs: number },
): Allowed | Denied {
  const { caller, server, rule, rate, tool } = demand;
  const each = tool === undefined ? 'of all that it allows there' : 'of this tool';
  const says = `${rule} lets ${caller} ${inWords(call.what)} of server ${server} at ${rate.text} ${each}`;
  const denied = { allow: false, rule, reason: `${says}: this is more`, retryAfterMs: waitMs } as const;
  return lifted<Denied>(policy, call, denied);
}
