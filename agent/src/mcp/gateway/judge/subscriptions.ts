/**
 * Subscriptions to changes. A client may listen to the list of tools, to a list that it may ask for, and to a resource
 * that a rule about subscriptions allows and that it may read. In the modern era one request asks for several: what is
 * not allowed of it is left out, and the server's acknowledgement says what is left (2026-07-28, "Subscriptions").
 */
import { type Filter, filterOf, LISTED, type Listed } from '@chancery/shared/mcp/subscription.ts';
import { uriOf } from '@chancery/shared/mcp/uses.ts';
import { type Call, subscriptionTo } from '@chancery/shared/policy/call.ts';
import { decideList } from '@chancery/shared/policy/decide.ts';
import { deciderOf } from '@chancery/shared/policy/decider.ts';
import { type Allowed, closed, type Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Reader } from './reader.ts';

/** Resources of one legacy session. A modern request may name as many. */
const MAX_OF_SESSION = 256;

/** What a caller is subscribed to already. */
export interface Held {
  /** By this session. */
  readonly uris: Pick<ReadonlySet<string>, 'has' | 'size'>;
  /** How many more resources its caller may subscribe to. */
  readonly left: number;
}

/** Modern only. */
export const readListen: Reader = (request, { era }) =>
  era === 'modern' ? { use: undefined, listens: filterOf(request), forwarded: request } : undefined;

const readUri =
  (subscribes: 'begin' | 'end'): Reader =>
  (request, { era }) => {
    if (era !== 'legacy') return undefined;
    const use = { ...subscriptionTo(uriOf(request)), arguments: {} };
    return { use, subscribes, forwarded: request };
  };

/** Legacy only, as the next. */
export const readSubscribe: Reader = readUri('begin');
export const readUnsubscribe: Reader = readUri('end');

type Where = Omit<Call, 'what' | 'arguments'>;

/** Whether a session may subscribe to a resource that may be read; else why not. */
export function boundOn(
  subscribes: 'begin' | 'end',
  uri: string,
  where: Where,
  held: Held,
): Denied | undefined {
  if (subscribes === 'end' || held.uris.has(uri)) return undefined;
  const { caller, server, session } = where;
  if (session === undefined) return denied('a subscription belongs to a session, and this server began none');
  if (held.uris.size < MAX_OF_SESSION && held.left > 0) return undefined;
  return tooMany(caller, server);
}

/** Giving up what the session has needs no rule: the rule may be gone. */
export const isGivenUp = (subscribes: 'begin' | 'end', uri: string, held: Held): boolean =>
  subscribes === 'end' && held.uris.has(uri);

/** What of a subscription is granted. */
export function decideListen(
  policy: Policy,
  where: Where,
  { asked, entered, left }: { readonly asked: Filter; readonly entered: Allowed; readonly left: number },
): { readonly decision: Allowed | Denied; readonly granted: Filter } {
  const ofList = (kind: Listed): Allowed | Denied =>
    kind === 'tool' ? entered : decideList(policy, where, kind);
  const decider = deciderOf(policy, where);
  const ofUri = (name: string): Allowed | Denied => closed(decider.decide(subscriptionTo(name)));
  const lists = asked.lists.map((kind) => ({ kind, decision: ofList(kind) }));
  const uris = asked.uris.map((uri) => ({ uri, decision: ofUri(uri) }));
  const granted = {
    lists: lists.filter(({ decision }) => decision.allow).map(({ kind }) => kind),
    uris: uris.filter(({ decision }) => decision.allow).map(({ uri }) => uri),
  };
  const { caller, server } = where;
  if (granted.uris.length > left) return { granted: NOTHING, decision: tooMany(caller, server) };
  const decisions = [...lists, ...uris].map(({ decision }) => decision);
  const first = decisions.find((each) => each.allow);
  if (first === undefined)
    return { granted: NOTHING, decision: decisions[0] ?? denied('the subscription is about nothing') };
  const refused = {
    lists: asked.lists.filter((kind) => !granted.lists.includes(kind)),
    uris: asked.uris.filter((uri) => !granted.uris.includes(uri)),
  };
  const says = `${first.rule} lets ${caller} listen at server ${server} to ${inWords(granted)}`;
  const butNot = inWords(refused);
  const reason = butNot === '' ? says : `${says}; no rule to ${butNot}`;
  const observed = decisions.some((each) => each.allow && each.observed === true);
  const lifted = observed ? ({ observed: true } as const) : {};
  return { granted, decision: { allow: true, rule: first.rule, reason, ...lifted } };
}

const NOTHING: Filter = { lists: [], uris: [] };

const inWords = ({ lists, uris }: Filter): string =>
  [...LISTED.filter((kind) => lists.includes(kind)).map((kind) => `the list of ${kind}s`), ...uris].join(
    ', ',
  );

const denied = (reason: string): Denied => ({ allow: false, rule: undefined, reason });

function tooMany(caller: string, server: string): Denied {
  const says = `${caller} may not be subscribed to more resources of server ${server}`;
  return denied(`${says}: unsubscribe from some, or end a session or a stream`);
}
