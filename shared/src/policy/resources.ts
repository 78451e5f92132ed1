/**
 * The two resources that say which MCP servers exist and who may call which of their tools. Strict: a key that nothing
 * enforces is refused, so that an operator never relies on a line that does nothing. `when`, `rate`, `approval` and a
 * pinned `definition` are such keys today.
 */

import { z } from 'zod';
import { isRefusal } from '../ground/errors.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { hostAndPort, MAX_PORT } from '../text/address.ts';
import { ClearField, MAX_CLEAR_FIELDS } from './clear.ts';
import { compileSpiffePattern } from './spiffe-pattern.ts';
import { compileToolPattern } from './tool-pattern.ts';
import { ReviewBy, Until } from './until.ts';

/** Of every kind of resource: a label of RFC 1123. */
export const ResourceName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'a name is lower-case letters, digits and inner hyphens, at most 63',
  );

const Identity = z.string().transform((text, context) => {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: reason(error) });
    return z.NEVER;
  }
});

/** Of every kind of resource. */
export const Owner = z
  .string()
  .max(200)
  .optional()
  .describe('Descriptive: the person or team to ask. No rule uses it.');

const SpiffePattern = z.string().superRefine(compiles(compileSpiffePattern));
const ToolPattern = z.string().superRefine(compiles(compileToolPattern));
const ToolPatterns = z.array(ToolPattern).max(500);

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
            .enum(['read', 'query', 'update', 'admin'])
            .describe('Descriptive: what a call of the tool does. No rule can use it yet.'),
        }),
      )
      .optional()
      .describe('Descriptive: the tools as their owner sees them. Listing a tool here permits nothing.'),
  })
  .describe('An MCP server behind a gateway.');
export type McpServer = z.infer<typeof McpServer>;

export const Access = z
  .strictObject({
    kind: z.literal('Access'),
    name: ResourceName.describe('The name of this rule in decisions and records.'),
    who: z.array(SpiffePattern).min(1).describe('SPIFFE IDs; * is one whole segment, a last ** is the rest.'),
    servers: z.array(ResourceName).min(1).describe('McpServer names, each in full.'),
    tools: z
      .strictObject({
        allow: ToolPatterns.default([]).describe(
          'Names, globs with * or /RE2 regex/, each matching a whole name.',
        ),
        deny: ToolPatterns.default([]).describe('Likewise; a match here beats every allow of every rule.'),
      })
      .refine(({ allow, deny }) => allow.length + deny.length > 0, 'a rule allows or denies something'),
    owner: Owner,
    until: Until,
    reviewBy: ReviewBy,
  })
  .describe('Who may call which tools of which servers. What no rule allows is denied.');
export type Access = z.infer<typeof Access>;

function compiles(compile: (text: string) => unknown) {
  return (text: string, context: z.core.$RefinementCtx<string>): void => {
    try {
      compile(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: reason(error) });
    }
  };
}

function reason(error: unknown): string {
  if (isRefusal(error)) return error.message;
  throw error;
}
