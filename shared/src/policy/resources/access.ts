/**
 * The resource that says who may do what at which MCP servers. Strict: a key that nothing enforces is refused, so that
 * an operator never relies on a line that does nothing. `when`, `rate` and `approval` are such keys today.
 */

import { z } from 'zod';
import type { Kind } from '../call.ts';
import type { Pattern } from '../patterns/pattern.ts';
import { compileReferencePattern } from '../patterns/reference.ts';
import { compileSpiffePattern } from '../patterns/spiffe.ts';
import { compilePromptPattern, compileToolPattern } from '../patterns/tool.ts';
import { compileUriPattern } from '../patterns/uri.ts';
import { compiles, Owner, ResourceName } from './fields.ts';
import { ReviewBy, Until } from './until.ts';

const SpiffePattern = z.string().superRefine(compiles(compileSpiffePattern));

/** What a rule says of one kind, by patterns. */
function block(compile: (text: string) => Pattern, what: string, patterns: string) {
  const list = z.array(z.string().superRefine(compiles(compile))).max(500);
  return z
    .strictObject({
      allow: list.default([]).describe(patterns),
      deny: list.default([]).describe('Likewise; a match here beats every allow of every rule.'),
    })
    .refine(({ allow, deny }) => allow.length + deny.length > 0, 'a rule allows or denies something')
    .optional()
    .describe(what);
}

export const Access = z
  .strictObject({
    kind: z.literal('Access'),
    name: ResourceName.describe('The name of this rule in decisions and records.'),
    who: z.array(SpiffePattern).min(1).describe('SPIFFE IDs; * is one whole segment, a last ** is the rest.'),
    servers: z.array(ResourceName).min(1).describe('McpServer names, each in full.'),
    tools: block(
      compileToolPattern,
      'The tools that may be called.',
      'Names, globs with * or /RE2 regex/, each matching a whole name.',
    ),
    resources: block(
      compileUriPattern,
      'The resources that may be read.',
      'URIs, globs with *, templates with {name} or /RE2 regex/, each matching a whole URI.',
    ),
    prompts: block(
      compilePromptPattern,
      'The prompts that may be got.',
      'Names, globs with * or /RE2 regex/, each matching a whole name.',
    ),
    completion: block(
      compileReferencePattern,
      'What arguments may be completed of. It must be allowed for itself, too.',
      'Names of prompts and texts of templates of resources, globs with * or /RE2 regex/, each matching the whole.',
    ),
    owner: Owner,
    until: Until,
    reviewBy: ReviewBy,
  })
  .refine(
    (access) => BLOCKS.some(({ key }) => access[key] !== undefined),
    'a rule has at least one of tools, resources, prompts and completion',
  )
  .describe(
    'Who may use which tools, resources and prompts of which servers. What no rule allows is denied.',
  );
export type Access = z.infer<typeof Access>;

/** The blocks of a rule that have patterns: of which kind, and how a pattern is compiled. */
export const BLOCKS = [
  { key: 'tools', kind: 'tool', compile: compileToolPattern },
  { key: 'resources', kind: 'resource', compile: compileUriPattern },
  { key: 'prompts', kind: 'prompt', compile: compilePromptPattern },
  { key: 'completion', kind: 'completion', compile: compileReferencePattern },
] as const satisfies readonly {
  readonly key: string;
  readonly kind: Kind;
  readonly compile: (text: string) => Pattern;
}[];
