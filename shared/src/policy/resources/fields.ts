/** Fields that resources of several kinds have, and how a field is checked by compiling it. */
import { z } from 'zod';
import { isRefusal } from '../../ground/errors.ts';
import { compileToolPattern } from '../patterns/tool.ts';

/** Of every kind of resource: a label of RFC 1123. */
export const ResourceName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'a name is lower-case letters, digits and inner hyphens, at most 63',
  );

/** Of every kind of resource. */
export const Owner = z
  .string()
  .max(200)
  .optional()
  .describe('Descriptive: the person or team to ask. No rule uses it.');

/** One pattern over names of tools. */
export const ToolPattern = z.string().superRefine(compiles(compileToolPattern));

/** A check for `superRefine`: the reason of a refusal becomes the field's error; any other error is thrown. */
export function compiles(compile: (text: string) => unknown) {
  return (text: string, context: z.core.$RefinementCtx<string>): void => {
    try {
      compile(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: refusedBecause(error) });
    }
  };
}

/** The message of a refusal. Throws any other error. */
export function refusedBecause(error: unknown): string {
  if (isRefusal(error)) return error.message;
  throw error;
}
