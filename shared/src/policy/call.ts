/** The call that is decided about: caller, server, tool, arguments, time and session. */
import type { JsonObject } from '../ground/json.ts';
import type { SpiffeId } from '../spiffe/id.ts';

/**
 * Each optional field may be unknown: when tools are listed there are no arguments yet, and the operator's `explain`
 * names a tool only. A condition that needs an unknown field cannot be decided.
 */
export interface ToolCall {
  readonly caller: SpiffeId;
  /** The McpServer resource's name. */
  readonly server: string;
  readonly tool: string;
  readonly arguments?: JsonObject | undefined;
  readonly now?: Date | undefined;
  /** Of the legacy era, as the client knows it. */
  readonly session?: string | undefined;
}
