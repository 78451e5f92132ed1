/** What the AWS attestors' configs have in common, and what they refuse with what to write instead. */
import { z } from 'zod';
import { type PrincipalKind, problemWithPattern } from './arn.ts';

export const account = z
  .string({ error: 'write the account in quotes: YAML would read a number, and leading zeros count' })
  .regex(/^\d{12}$/, {
    error: ({ input }) =>
      `"${input}" is not an account: write 12 digits, each account out; there is no wildcard, for anybody can have one`,
  });

export const organizationId = z
  .string()
  .regex(/^o-[a-z0-9]{10,32}$/, 'an organisation is "o-" and 10 to 32 lower-case letters and digits');

export const organizationalUnit = z
  .string()
  .regex(/^ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}$/, 'an organisational unit is, for instance, ou-ab12-11111111');

/** Patterns of ARNs for these kinds of principals. */
export const arnPatterns = (kinds: readonly PrincipalKind[]) =>
  z
    .array(
      z.string().superRefine((text, context) => {
        const problem = problemWithPattern(text, kinds);
        if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
      }),
    )
    .min(1)
    .optional()
    .describe(
      'Which principals of the accounts may join, if not all. `*` stands for characters of one name, never `:` or `/`.',
    );

/** Each pattern must be able to match: one for an account that is not listed never could. */
export function patternsOutside(
  patterns: readonly string[] | undefined,
  accounts: readonly string[],
): readonly string[] {
  return (patterns ?? []).filter((pattern) => !accounts.includes(pattern.split(':')[4] ?? ''));
}
