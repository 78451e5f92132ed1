/** What became of a connection, in words: of Node and the operating system. */

/** By the code of the error. */
export const NETWORK_SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'there is no route to its host',
  ENETUNREACH: 'there is no route to its network',
  ENOTFOUND: 'its name has no address',
  EAI_AGAIN: 'its name could not be looked up',
  ENOENT: 'its socket does not exist',
  EACCES: 'its socket may not be opened',
  ECONNABORTED: 'the connection was aborted',
};

/** A call, a code and an address, as Node writes them: `connect ECONNREFUSED 127.0.0.1:1 - Local (0.0.0.0:0)`. */
const RAW = /\b(?:connect|read|write|getaddrinfo) (E[A-Z_]+)(?: ([^\s,;]+))?( - Local \([^)]*\))?/g;

/** `text` with each of Node's own accounts in words: `127.0.0.1:1: the connection was refused (ECONNREFUSED)`. */
export const plainNetwork = (text: string): string =>
  text.replace(RAW, (raw, code: string, address: string | undefined) => {
    const says = NETWORK_SENTENCES[code];
    if (says === undefined) return raw;
    return `${address === undefined ? '' : `${address}: `}${says} (${code})`;
  });
