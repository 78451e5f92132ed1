/**
 * The resource that says who may do what at which MCP servers. Strict: a key that nothing enforces is refused, so that
 * an operator never relies on a line that does nothing. `approval` is such a key today.
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
import { compileUsePattern } from '../patterns/use.ts';
import { compileRate } from '../rate/rate.ts';
import { compiles, Owner, ResourceName, ToolPattern } from './fields.ts';
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

const DURING =
  'Names of tools and prompts and URIs of resources, globs with * or /RE2 regex/, each matching the whole.';
const MODES = ['form', 'url'] as const;

const Elicitation = z
  .strictObject({
    allow: patternsOf(compileUsePattern).default([]).describe(DURING),
    deny: patternsOf(compileUsePattern).default([]).describe(`${DENIES} It covers all modes.`),
    modes: z
      .array(z.enum(MODES))
      .min(1)
      .max(MODES.length)
      .default(['form'])
      .describe('How the user may be asked by `allow`: by a form, or by a URL to open.'),
  })
  .refine(({ allow, deny }) => allow.length + deny.length > 0, 'a rule allows or denies something')
  .optional()
  .describe('What a server may be used for while it asks the user something.');

const RateText = z.string().superRefine(compiles(compileRate));

const AccessRate = z
  .strictObject({
    calls: RateText.optional().describe(
      'So many calls, reads, prompts and completions in a time, as 60/m, 5/s or 100/h.',
    ),
    burst: z
      .int()
      .min(1)
      .max(100_000)
      .optional()
      .describe('So many of `calls` at once (default: a tenth of its number, at least 1).'),
    tools: z
      .record(ToolPattern, RateText)
      .optional()
      .describe('Rates of each single tool, by name, glob or /regex/; at once a tenth of the number.'),
  })
  .refine(({ calls, tools }) => (calls ?? tools) !== undefined, 'a rate has calls or tools')
  .refine(({ calls, burst }) => burst === undefined || calls !== undefined, 'burst is one of calls')
  .refine(({ tools = {} }) => Object.keys(tools).length <= 100, 'a rule has rates of at most 100 tools')
  .optional()
  .describe('How fast each SPIFFE ID may use, at each server, what the rule allows.');

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
    sampling: block(
      compileUsePattern,
      'What a server may be used for while it asks the client to sample its model.',
      DURING,
    ),
    elicitation: Elicitation,
    roots: z
      .literal(true)
      .optional()
      .describe('The server may ask for the roots of the client, at any time.'),
    tasks: block(
      compileToolPattern,
      'The tools whose calls may be made as tasks. Each must be allowed for itself, too.',
      NAMES,
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
    rate: AccessRate,
    everything: Ends.optional().describe(
      'For a roll-out: an allow of every kind. What a rule denies stays denied.',
    ),
    scopes: z
      .array(ResourceName)
      .min(1)
      .max(16)
      .optional()
      .describe(
        'Scopes that it belongs to: a certificate with a scope is allowed what rules of the scope allow, and no more.',
      ),
    owner: Owner,
    until: Until,
    reviewBy: ReviewBy,
  })
  .refine((access) => [...BLOCKS.map(({ key }) => key), ...ALONE].some((key) => access[key] !== undefined), {
    error: () =>
      `a rule has at least one of ${[...new Set(BLOCKS.map(({ key }) => key)), ...ALONE].join(', ')}`,
  })
  .refine(
    ({ rate, tools, everything, ...others }) => {
      const allowsTools = everything ?? tools?.allowActions ?? tools?.allow[0];
      if (rate?.tools !== undefined) return allowsTools !== undefined;
      const blocks = [others.resources, others.prompts, others.completion];
      return rate === undefined || (allowsTools ?? blocks.find((each) => each?.allow[0])) !== undefined;
    },
    { path: ['rate'], message: 'a rate is of what the rule itself allows, and this one allows none of it' },
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

type Effect = 'allow' | 'deny';

/** The blocks that are lists of patterns and nothing else. */
type Plain = 'tools' | 'resources' | 'prompts' | 'completion' | 'subscriptions' | 'tasks' | 'sampling';

/** What a rule says of one kind. */
export interface Block {
  readonly key: Plain | 'elicitation' | 'roots';
  readonly kind: Kind;
  /** The patterns that a rule has. */
  readonly patternsOf: (access: Access, effect: Effect) => readonly string[];
  readonly compile: (text: string, effect: Effect) => Pattern;
}

const byMode =
  (mode: (typeof MODES)[number]): Block['patternsOf'] =>
  ({ elicitation }, effect) => {
    if (elicitation === undefined) return [];
    return effect === 'deny' || elicitation.modes.includes(mode) ? elicitation[effect] : [];
  };

function ofKey(key: Plain, kind: Kind, compile: Block['compile']): Block {
  return { key, kind, compile, patternsOf: (access, effect) => access[key]?.[effect] ?? [] };
}

/** The blocks of a rule that have patterns: of which kind, and how a pattern is compiled. */
export const BLOCKS: readonly Block[] = [
  ofKey('tools', 'tool', compileToolPattern),
  ofKey('resources', 'resource', compileUriPattern),
  ofKey('prompts', 'prompt', compilePromptPattern),
  ofKey('completion', 'completion', compileReferencePattern),
  ofKey('subscriptions', 'subscription', compileUriPattern),
  ofKey('tasks', 'task', compileToolPattern),
  ofKey('sampling', 'sampling', compileUsePattern),
  { key: 'elicitation', kind: 'elicitation', compile: compileUsePattern, patternsOf: byMode('form') },
  { key: 'elicitation', kind: 'elicitation-url', compile: compileUsePattern, patternsOf: byMode('url') },
  {
    key: 'roots',
    kind: 'roots',
    compile: compileUsePattern,
    patternsOf: ({ roots }, effect) => (roots === true && effect === 'allow' ? ['*'] : []),
  },
];
