/** A refusal as a test expects it: its code, and what its detail says, so that no row passes for another reason. */
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { expect } from 'vitest';

export const refusal = (code: Refusal, message: RegExp) =>
  expect.objectContaining({ name: 'IdentityError', code, message: expect.stringMatching(message) });
