/** The call that is decided about: caller, server, what is used, arguments, time and session. */
import type { JsonObject } from '../ground/json.ts';
import type { Attested } from '../spiffe/attested.ts';
import type { SpiffeId } from '../spiffe/id.ts';

/**
 * What a server may ask of its client, by rules: to sample a model, to ask the user by a form or to send the user to a
 * URL, and the client's roots.
 */
export const ASK_KINDS = ['sampling', 'elicitation', 'elicitation-url', 'roots'] as const;

/**
 * What a rule can speak of. No line about one kind counts for another. A completion is about a prompt or a template of
 * resources, a subscription about a resource and a task about a tool, which needs to be allowed
 * for itself, too.
 */
const OF_CALLERS = ['tool', 'resource', 'prompt', 'completion', 'subscription', 'task', 'logging'] as const;
export const KINDS = [...OF_CALLERS, ...ASK_KINDS] as const;
export type Kind = (typeof KINDS)[number];

/** One thing of a server. */
export interface What {
  readonly kind: Kind;
  /**
   * Of a resource and a subscription the URI; of a completion the name of the prompt or the text of the template; of
   * a task the tool that made it; of logging a level; of a question the name or URI of what the server answers
   * meanwhile, empty if that is nothing.
   */
  readonly name: string;
  /** Of a completion, a subscription and a task: what it is about. It cannot be allowed where that is not. */
  readonly of?: 'prompt' | 'template' | 'resource' | 'tool';
}

/**
 * Each optional field may be unknown: when tools are listed there are no arguments yet, and the operator's `explain`
 * names a tool only. A condition that needs an unknown field cannot be decided.
 */
export interface Call {
  readonly caller: SpiffeId;
  /** The McpServer resource's name. */
  readonly server: string;
  readonly what: What;
  readonly arguments?: JsonObject | undefined;
  /** The start of the caller's certificate. */
  readonly certifiedAt?: Date | undefined;
  /** The narrower grant that the caller's certificate has; without one all rules count. */
  readonly scope?: string | undefined;
  /** What the caller's certificate says that the CA attested. */
  readonly attested?: Attested | undefined;
  /** The IP address at the caller's end of the connection. */
  readonly source?: string | undefined;
  readonly now?: Date | undefined;
  /** Of the legacy era, as the client knows it. */
  readonly session?: string | undefined;
}

/** A caller, with the grant that it has. */
export type Who = Pick<Call, 'caller' | 'scope'>;

/** A subscription to the resource. */
export const subscriptionTo = (uri: string): What => ({ kind: 'subscription', name: uri, of: 'resource' });

/** A task of the tool. */
export const taskBy = (tool: string): What => ({ kind: 'task', name: tool, of: 'tool' });

/** The tool of that name. */
export const toolNamed = (name: string): What => ({ kind: 'tool', name });
