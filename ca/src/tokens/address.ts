/** Addresses of platforms' services in a config. */
import { isCallable } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';

/** https, or http on this machine: an answer that anybody on the way could write proves nothing. */
export const addressSchema = (key: string) =>
  z.string().refine(isCallable, {
    error: ({ input }) =>
      `${key}: ${String(input)} is not https; write https://… (http is for loopback only)`,
  });
