/**
 * May this caller reach this server, and use this tool, resource or prompt of it? Two tiers. A matching deny beats an
 * ask, and an ask beats an allow; what no rule allows is denied. Pure and synchronous: the same call under the same
 * policy has the same answer.
 */
import { ASK_KINDS, type Call, type Kind, type What, type Who } from './call.ts';
import { Answers } from './condition/answers.ts';
import type { Allowed, Decision, Denied } from './decision.ts';
import { isObserved, lifted } from './observe.ts';
import { whyNoLevel } from './patterns/level.ts';
import { whyNoReference } from './patterns/reference.ts';
import { whyNoPrompt, whyNoTool } from './patterns/tool.ts';
import { alwaysExpandsTo, canExpandTo, whyNoUri } from './patterns/uri.ts';
import type { Policy } from './policy.ts';
import type { Line, Lines } from './rules.ts';

/** Of a kind: what a caller does with one thing and with all, in words, and why no rule can allow one of this name. */
interface KindOfThing {
  readonly use: string;
  readonly list: string;
  readonly whyNot: (name: string) => string | undefined;
}

function asking(what: string): KindOfThing {
  return { use: `be asked for ${what} during`, list: `be asked for ${what}`, whyNot: () => undefined };
}

const WORDS: Readonly<Record<Kind, KindOfThing>> = {
  tool: { use: 'call tool', list: 'list tools', whyNot: whyNoTool },
  resource: { use: 'read resource', list: 'list resources', whyNot: whyNoUri },
  prompt: { use: 'get prompt', list: 'list prompts', whyNot: whyNoPrompt },
  completion: { use: 'complete arguments of', list: 'complete arguments', whyNot: whyNoReference },
  subscription: { use: 'subscribe to resource', list: 'subscribe to resources', whyNot: whyNoUri },
  task: { use: 'have a task of tool', list: 'have tasks', whyNot: whyNoTool },
  logging: { use: 'get log messages of level', list: 'get log messages', whyNot: whyNoLevel },
  sampling: asking('sampling'),
  elicitation: asking('elicitation'),
  'elicitation-url': asking('elicitation by URL'),
  roots: asking('roots'),
};

/** Tier 1: the caller may reach a registered server if any rule may allow it anything there. */
export function decideServer(policy: Policy, who: Who, server: string): Allowed | Denied {
  const caller = inScope(who);
  if (!policy.servers.has(server)) return denied(undefined, `no server is registered as ${server}`);
  const { entrance } = policy.rulesFor(who, server);
  if (entrance === undefined)
    return denied(undefined, `no Access rule lets ${caller} reach server ${server}`);
  return { allow: true, rule: entrance, reason: `${entrance} lets ${caller} reach server ${server}` };
}

/** Whether a caller that may reach the server may list things of a kind: if a rule may allow it one of them. */
export function decideList(
  policy: Policy,
  call: Pick<Call, 'caller' | 'scope' | 'server' | 'now'>,
  kind: Kind,
): Allowed | Denied {
  const { server } = call;
  const what = `${inScope(call)} ${WORDS[kind].list} of server ${server}`;
  const rule = policy.rulesFor(call, server).entranceOf(kind);
  if (rule === undefined) return lifted(policy, call, denied(undefined, `no Access rule lets ${what}`));
  return { allow: true, rule, reason: `${rule} lets ${what}` };
}

/** A caller, in words. */
const inScope = ({ caller, scope }: Who): string =>
  scope === undefined ? caller : `${caller} in scope ${scope}`;

/** What a caller does with a thing, in words: `call tool echo`. */
export const inWords = ({ kind, name }: What): string =>
  name === '' && ASK_KINDS.some((each) => each === kind) ? WORDS[kind].list : `${WORDS[kind].use} ${name}`;

/**
 * Tier 2, which implies tier 1. A condition that cannot be decided counts against the call. `answers` are remembered
 * from other calls that differ only in what they use.
 */
export function decide(policy: Policy, call: Call, answers = new Answers()): Decision {
  const refused = refusedAlways(policy, call);
  if (refused !== undefined) return refused;
  const decision =
    refusedReference(policy, call, answers) ??
    refusedResource(policy, call, answers) ??
    policy.rulesFor(call, call.server).decide(call, decideBy, answers);
  return mayAsk(policy, call, answers) ? decision : lifted(policy, call, decision);
}

/** Whether a rule may ask for an approval of the call, which nothing else stands for. */
function mayAsk(policy: Policy, call: Call, answers: Answers): boolean {
  const { ask } = policy.rulesFor(call, call.server).about(call.what);
  if (ask.length === 0) return false;
  const { holds } = conditionsOf(call, answers);
  return ask.some((line) => holds(line) !== false);
}

function decideBy({ deny, ask, allow }: Lines, call: Call, answers: Answers): Decision {
  const { server } = call;
  const what = `${inScope(call)} ${inWords(call.what)} of server ${server}`;
  const { holds, answer } = conditionsOf(call, answers);
  const denial = deny.find((line) => holds(line) !== false) ?? ask.find((line) => holds(line) === undefined);
  if (denial !== undefined) {
    const { rule, pattern } = denial;
    return denied(rule, `${rule} does not let ${what}: ${pattern.text}${doubtOf(answer(denial))}`);
  }
  const question = ask.find(holds);
  if (question !== undefined) {
    const { rule, pattern } = question;
    return {
      allow: false,
      ask: true,
      rule,
      reason: `${rule} lets ${what} with an approval: ${pattern.text}`,
    };
  }
  const grant = allow.find(holds);
  if (grant === undefined) return denied(undefined, `no Access rule lets ${what}${unmet(allow, answer)}`);
  const by = grant.says ?? grant.pattern.text;
  return { allow: true, rule: grant.rule, reason: `${grant.rule} lets ${what}: ${by}` };
}

/**
 * Whether a list shows the thing. `maybe` if that depends on the call: on a condition on its arguments, or an approval.
 */
export function mayCall(policy: Policy, call: Call, answers = new Answers()): 'yes' | 'maybe' | 'no' {
  if (refusedAlways(policy, call) !== undefined) return 'no';
  const may =
    refusedReference(policy, call, answers) === undefined ? mayByRules(policy, call, answers) : 'no';
  return may === 'no' && isObserved(policy, call) && !mayAsk(policy, call, answers) ? 'yes' : may;
}

function mayByRules(policy: Policy, call: Call, answers: Answers): 'yes' | 'maybe' | 'no' {
  const { deny, ask, allow } = policy.rulesFor(call, call.server).about(call.what);
  const { holds } = conditionsOf(call, answers);
  if (deny.some(holds)) return 'no';
  const mayHold = (line: Line): boolean => holds(line) !== false;
  if (!ask.some(mayHold) && !allow.some(mayHold)) return 'no';
  const doubts = deny.some(mayHold) || ask.some(mayHold);
  return !doubts && allow.some(holds) ? 'yes' : 'maybe';
}

/**
 * Whether a list shows a template of resources: `call` is about its text. It does where a rule allows the text, or may
 * allow something that the template expands to. What a client reads by it is decided by its URI.
 */
export function mayExpand(policy: Policy, call: Call, answers = new Answers()): boolean {
  if (!decideServer(policy, call, call.server).allow) return false;
  return isObserved(policy, call) || expandsByRules(policy, call, answers);
}

function expandsByRules(policy: Policy, call: Call, answers: Answers): boolean {
  const { deny, ask, allow } = policy.rulesFor(call, call.server).of('resource');
  const { name } = call.what;
  const { holds } = conditionsOf(call, answers);
  const [always, can] = [alwaysExpandsTo(name), canExpandTo(name)];
  if (deny.some((line) => always(line.pattern) && holds(line))) return false;
  const possible = (line: Line): boolean => can(line.pattern) && holds(line) !== false;
  return ask.some(possible) || allow.some(possible);
}

/** What each condition about the thing gives for this call, for the operator's `explain`. */
export function conditionsOn(policy: Policy, call: Call): readonly string[] {
  const { deny, ask, allow } = policy.rulesFor(call, call.server).about(call.what);
  const said = [...deny, ...ask, ...allow].flatMap(({ rule, when }) => {
    if (when === undefined) return [];
    const answer = when.answer(call);
    const condition = when.text.trim().replace(/\s+/g, ' ');
    return [`${rule}: when (${condition}) ${typeof answer === 'string' ? answer : `is ${answer}`}`];
  });
  return [...new Set(said)];
}

/** Tier 1, and names that no rule can allow. */
function refusedAlways(policy: Policy, call: Call): Denied | undefined {
  const { server, what } = call;
  const entered = decideServer(policy, call, server);
  if (!entered.allow) return entered;
  const why = whyNone(what);
  return why === undefined ? undefined : denied(undefined, why);
}

/** A subscription to what the rules do not let the caller read now. */
function refusedResource(policy: Policy, call: Call, answers: Answers): Denied | undefined {
  const { of, name } = call.what;
  if (of !== 'resource') return undefined;
  const about: Call = { ...call, what: { kind: 'resource', name } };
  const read = policy.rulesFor(call, call.server).decide(about, decideBy, answers);
  return read.allow ? undefined : denied(read.rule, read.reason);
}

/** What is about a thing that no rule lets the caller use. */
function refusedReference(policy: Policy, call: Call, answers: Answers): Denied | undefined {
  const { of, name } = call.what;
  if (of === undefined) return undefined;
  const { server } = call;
  // The arguments are those of a completion.
  const about = (kind: Kind): Call => ({ ...call, what: { kind, name }, arguments: undefined });
  // A text without an expression is the URI of a resource, and is decided as one.
  const isTemplate = of === 'template' && name.includes('{');
  const isUsable = isTemplate
    ? expandsByRules(policy, about('resource'), answers)
    : mayUse(policy, about(of === 'template' ? 'resource' : of), answers);
  const says = `no Access rule lets ${inScope(call)} use ${of} ${name} of server ${server}`;
  return isUsable ? undefined : denied(undefined, says);
}

const mayUse = (policy: Policy, call: Call, answers: Answers): boolean =>
  whyNone(call.what) === undefined && mayByRules(policy, call, answers) !== 'no';

/** Why no rule can allow this thing, whatever it says; undefined if one can. */
const whyNone = ({ kind, name }: What): string | undefined => WORDS[kind].whyNot(name);

interface Conditions {
  /** A line without a condition holds. Undefined if its condition cannot be decided. */
  readonly holds: (line: Line) => boolean | undefined;
  readonly answer: (line: Line) => boolean | string;
}

function conditionsOf(call: Call, answers: Answers): Conditions {
  const answer = ({ when }: Line): boolean | string => when === undefined || answers.answer(when, call);
  const holds = (line: Line): boolean | undefined => {
    const given = answer(line);
    return typeof given === 'string' ? undefined : given;
  };
  return { answer, holds };
}

/** Why a condition counts against the call although it is not met. */
const doubtOf = (answer: boolean | string): string =>
  typeof answer === 'string' ? `; its condition ${answer}` : '';

/** Says of rules that would allow the call that their conditions are not met: of the first three. */
function unmet(allow: readonly Line[], answer: Conditions['answer']): string {
  const rules = new Map(allow.map((line) => [line.rule, answer(line)]));
  return [...rules]
    .slice(0, 3)
    .map(([rule, given]) => `; the condition of ${rule} ${given === false ? 'is not met' : given}`)
    .join('');
}

function denied(rule: string | undefined, reason: string): Denied {
  return { allow: false, rule, reason };
}
