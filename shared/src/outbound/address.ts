/** Which addresses of platforms a config may name: plain HTTP stays on this machine. */

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** What a refused config says. */
export const CALLABLE = 'write an https address; http is for loopback only, and user names are for nobody';

/** True for https, and for http to a loopback address; without credentials and fragment. */
export function isCallable(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '') return false;
  if (/[#\s]/.test(text)) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}
