/**
 * The resource that says who may do what at which MCP servers. Strict: a key that nothing enforces is refused, so that
 * an operator never relies on a line that does nothing. `when`, `rate` and `approval` are such keys today.
 */

import { z } from 'zod';
import { compileSpiffePattern } from '../patterns/spiffe.ts';
import { compiles, Owner, ResourceName, ToolPattern } from './fields.ts';
import { ReviewBy, Until } from './until.ts';

const SpiffePattern = z.string().superRefine(compiles(compileSpiffePattern));
const ToolPatterns = z.array(ToolPattern).max(500);

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
