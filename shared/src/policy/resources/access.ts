/**
 * The resource that says who may do what at which MCP servers. Strict: a key that nothing enforces is refused, so that
 * an operator never relies on a line that does nothing. `rate` and `approval` are such keys today.
 */

import { z } from 'zod';
import type { Kind } from '../call.ts';
import { compileWhen, knownForTools } from '../condition/when.ts';
import { ACTIONS } from '../lookup/classes.ts';
import { LEVELS } from '../patterns/level.ts';
import type { Pattern } from '../patterns/pattern.ts';
import { compileReferencePattern } from '../patterns/reference.ts';
import { compileSpiffePattern } from '../patterns/spiffe.ts';
import { compilePromptPattern, compileToolPattern } from '../patterns/tool.ts';
import { compileUriPattern } from '../patterns/uri.ts';
import { compiles, Owner, ResourceName } from './fields.ts';
import { Ends, ReviewBy, Until } from './until.ts';

const SpiffePattern = z.string().superRefine(compiles(compileSpiffePattern));

/** Absent where none is named: agents of an older release refuse a key that they do not know. */
const Actions = z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length).optional();
const NAMES = 'Names, globs with * or /RE2 regex/, each matching a whole name.';
const DENIES = 'Likewise; a match here beats every allow of every rule.';

const patternsOf = (compile: (text: string) => Pattern) =>
  z.array(z.string().superRefine(compiles(compile))).max(500);

const Tools = z
  .strictObject({
    allow: patternsOf(compileToolPattern).default([]).describe(NAMES),
    deny: patternsOf(compileToolPattern).default([]).describe(DENIES),
    allowActions: Actions.describe('Classes of tools, as the McpServer has them; other tools have none.'),
    denyActions: Actions.describe('Likewise; a tool without a class is not denied by this.'),
  })
  .refine(
    ({ allow, deny, allowActions = [], denyActions = [] }) =>
      [allow, deny, allowActions, denyActions].some(({ length }) => length > 0),
    'a rule allows or denies something',
  )
  .optional()
  .describe('The tools that may be called.');

/** What a rule says of one other kind, by patterns. */
function block(compile: (text: string) => Pattern, what: string, patterns: string) {
  const list = patternsOf(compile);
  return z
    .strictObject({
      allow: list.default([]).describe(patterns),
      deny: list.default([]).describe(DENIES),
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
    tools: Tools,
    resources: block(
      compileUriPattern,
      'The resources that may be read.',
      'URIs, globs with *, templates with {name} or /RE2 regex/, each matching a whole URI.',
    ),
    prompts: block(compilePromptPattern, 'The prompts that may be got.', NAMES),
    completion: block(
      compileReferencePattern,
      'The prompts and templates whose arguments may be completed. Each must be allowed for itself, too.',
      'Names of prompts and texts of templates of resources, globs with * or /RE2 regex/, each matching the whole.',
    ),
    subscriptions: block(
      compileUriPattern,
      'The resources whose changes the caller may listen to. Each must be allowed for itself, too.',
      'URIs, globs with *, templates with {name} or /RE2 regex/, each matching a whole URI.',
    ),
    when: z
      .string()
      .superRefine(compiles(compileWhen))
      .optional()
      .describe(
        'A CEL condition: the rule counts where it is true. One that cannot be decided allows nothing, and denies.',
      ),
    logging: z
      .enum(LEVELS)
      .optional()
      .describe('The least severe of the log messages that may pass. Without a rule that has it none does.'),
    everything: Ends.optional().describe(
      'For a roll-out: an allow of every kind. What a rule denies stays denied.',
    ),
    owner: Owner,
    until: Until,
    reviewBy: ReviewBy,
  })
  .refine(
    (access) => [...BLOCKS.map(({ key }) => key), ...ALONE].some((key) => access[key] !== undefined),
    'a rule has at least one of tools, resources, prompts, completion, subscriptions, logging and everything',
  )
  .superRefine(({ when, ...access }, context) => {
    const keys = [...BLOCKS.map(({ key }) => key), ...ALONE];
    const other = keys.find((key) => key !== 'tools' && access[key] !== undefined);
    const name = when === undefined || other === undefined ? undefined : knownForTools(when);
    if (name === undefined) return;
    const message = `${name} is known of calls of tools only: write ${other} in a rule of their own`;
    context.addIssue({ code: 'custom', path: ['when'], message });
  })
  .describe(
    'Who may use which tools, resources and prompts of which servers. What no rule allows is denied.',
  );
export type Access = z.infer<typeof Access>;

/** What a rule may say besides, and alone. */
const ALONE = ['logging', 'everything'] as const;

/** The blocks of a rule that have patterns: of which kind, and how a pattern is compiled. */
export const BLOCKS = [
  { key: 'tools', kind: 'tool', compile: compileToolPattern },
  { key: 'resources', kind: 'resource', compile: compileUriPattern },
  { key: 'prompts', kind: 'prompt', compile: compilePromptPattern },
  { key: 'completion', kind: 'completion', compile: compileReferencePattern },
  { key: 'subscriptions', kind: 'subscription', compile: compileUriPattern },
] as const satisfies readonly {
  readonly key: string;
  readonly kind: Kind;
  readonly compile: (text: string, effect: 'allow' | 'deny') => Pattern;
}[];
