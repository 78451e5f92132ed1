/** Which addresses of platforms a config may name: plain HTTP stays on this machine. */
import { z } from 'zod';

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** True for https, and for http to a loopback address; without credentials and fragment. */
export function isCallable(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '') return false;
  if (/[#\s]/.test(text)) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}

/** An answer that others on the network could write proves nothing. */
export const address = z.string().refine(isCallable, {
  error: ({ input }) =>
    `${String(input)} cannot be called: write an https address without a user name; http is for loopback only`,
});
