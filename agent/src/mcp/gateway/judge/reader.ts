/** How a request of a client is read: what rules decide about, and what the MCP server gets of it. */
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Request } from '@chancery/shared/mcp/message.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import type { Filter } from '@chancery/shared/mcp/subscription.ts';
import type { Kind, What } from '@chancery/shared/policy/call.ts';

/** What a request asks for by name, and with what. */
export interface Use extends What {
  readonly arguments: JsonObject;
}

export interface Reading {
  /** Undefined if it is enough that the caller may reach the server. */
  readonly use: Use | undefined;
  /** Set for a list of things of this kind, where a rule must allow one of them at least. */
  readonly lists?: Kind;
  /** Set for a modern subscription: what it asks for. */
  readonly listens?: Filter;
  /** Set where a legacy session begins or ends a subscription to the resource that it uses. */
  readonly subscribes?: 'begin' | 'end';
  /** Set for a call that is to be made as a task. */
  readonly makesTask?: boolean;
  /** Set for what is asked of a task: its id. */
  readonly ofTask?: string;
  /** The request as the server gets it: what it has besides was not decided. */
  readonly forwarded: Request;
}

export interface Terms {
  readonly era: Era;
  readonly freeText: FreeText;
}

/** Undefined for a request that no rule can allow. Throws mcp_parse. */
export type Reader = (request: Request, terms: Terms) => Reading | undefined;
