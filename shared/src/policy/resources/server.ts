/**
 * The resource that says which MCP servers exist. Strict: a key that nothing enforces is refused, so that an operator
 * never relies on a line that does nothing. A pinned `definition` is such a key today.
 */

import { z } from 'zod';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { hostAndPort, MAX_PORT } from '../../text/address.ts';
import { ACTIONS } from '../lookup/classes.ts';
import { ClearField, MAX_CLEAR_FIELDS } from './clear.ts';
import { Owner, ResourceName, refusedBecause, ToolPattern } from './fields.ts';
import { Ends, ReviewBy, Until } from './until.ts';

const Identity = z.string().transform((text, context) => {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: refusedBecause(error) });
    return z.NEVER;
  }
});

export const McpServer = z
  .strictObject({
    kind: z.literal('McpServer'),
    name: ResourceName.describe('The name in rules and in `chancery-agent connect NAME`.'),
    identity: Identity.describe('The SPIFFE ID of the server at `address`; compared exactly.'),
    address: z
      .string()
      .regex(
        /^(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:]+\]):[1-9][0-9]{0,4}$/,
        'an address is host:port, in lower case',
      )
      .refine((text) => hostAndPort(text).port <= MAX_PORT, 'the port is above 65535')
      .describe('Where its gateway listens: host:port.'),
    owner: Owner,
    until: Until,
    audit: z
      .enum(['required'])
      .optional()
      .describe(
        'Without a record on its way to the audit log of the CA its gateway lets no call in (default: it does).',
      ),
    clear: z
      .array(
        z.strictObject({
          tools: z
            .array(ToolPattern)
            .min(1)
            .max(32)
            .describe('Names, globs with * or /RE2 regex/, each matching a whole name.'),
          fields: z
            .array(ClearField)
            .min(1)
            .max(MAX_CLEAR_FIELDS)
            .describe('JSON Pointers (RFC 6901) into the arguments, such as /repo or /labels/0.'),
        }),
      )
      .max(32)
      .optional()
      .describe('Arguments that records of calls have in clear (default: none, only their SHA-256).'),
    era: z
      .enum(['legacy'])
      .optional()
      .describe(
        'Its gateway refuses messages of the other era, so that rules may read session (default: both).',
      ),
    observe: Ends.optional().describe(
      'For a roll-out: its gateway decides and records, and lets pass what rules deny of those who may reach it.',
    ),
    reviewBy: ReviewBy,
    class: z
      .enum(['tool-endpoint', 'delegated-auth', 'mixed'])
      .optional()
      .describe('Descriptive: the kind of server. No rule uses it.'),
    tools: z
      .record(
        z.string().min(1).max(128),
        z.strictObject({
          action: z
            .enum(ACTIONS)
            .describe('What a call of the tool does, for allowActions and denyActions of rules.'),
        }),
      )
      .optional()
      .describe(
        'Classes of its tools, by name, glob or /regex/: a name beats patterns. This permits nothing.',
      ),
  })
  .describe('An MCP server behind a gateway.');
export type McpServer = z.infer<typeof McpServer>;
