/** What configs have in common: texts that are read by a parser of ours, and addresses. */
import { z } from 'zod';
import { parseDuration } from './duration.ts';
import { isRefusal } from './errors.ts';

/** A transform of zod's; what the parser says is wrong becomes one of the file's problems. */
export const by =
  <T>(parse: (text: string) => T) =>
  (text: string, context: z.RefinementCtx): T => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: isRefusal(error) ? error.message : String(error) });
      return z.NEVER;
    }
  };

/** Seconds. */
export const duration = (fallback: string) => z.string().default(fallback).transform(by(parseDuration));

export const hostPort = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[a-zA-Z0-9.-]+):[0-9]{1,5}$/, {
    error: 'expected host:port, for instance 127.0.0.1:8443',
    abort: true,
  })
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'a port is at most 65535');
