/** Lists, resources, prompts and completions: what a client reads of a server. */

import { completionOf, promptOf, uriOf } from '@chancery/shared/mcp/uses.ts';
import type { Kind } from '@chancery/shared/policy/call.ts';
import type { Reader } from './reader.ts';

/** A list of things of one kind. Its answer is filtered. */
export const readListOf =
  (kind: Kind): Reader =>
  (request) => ({ use: undefined, lists: kind, forwarded: request });

/** Decided by its URI. */
export const readResource: Reader = (request) => ({
  use: { kind: 'resource', name: uriOf(request), arguments: {} },
  forwarded: request,
});

/** Decided by its name and arguments. */
export const readPrompt: Reader = (request) => ({
  use: { kind: 'prompt', ...promptOf(request) },
  forwarded: request,
});

/** Decided by the prompt or template that it is about. */
export const readCompletion: Reader = (request) => ({
  use: { kind: 'completion', ...completionOf(request) },
  forwarded: request,
});
