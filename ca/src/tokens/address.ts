/** Addresses of platforms' services in a config. */
import { z } from 'zod';

const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

/** https, or http on this machine: an answer that anybody on the way could write proves nothing. */
export const addressSchema = (key: string) =>
  z.string().refine(isSafe, {
    error: ({ input }) =>
      `${key}: ${String(input)} is not https; write https://… (http is for loopback only)`,
  });

function isSafe(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '' || /\s/.test(text))
    return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}
