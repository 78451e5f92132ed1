/** The error text if a program cannot listen on an address. */
import { socketPathProblem } from './socket-path.ts';

const SENTENCES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process has this address',
  EADDRNOTAVAIL: 'no interface of this machine has this address',
  EACCES:
    'permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, and a socket needs a folder to write in',
  ENOTFOUND: 'the name does not resolve',
};

/** `where` is host:port or a path; `listener` names the process that listens there, where that can be known. */
export function cannotListen(where: string, error: unknown, listener?: () => string | undefined): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const tooLong = where.startsWith('/') ? socketPathProblem(where) : undefined;
  const says = tooLong ?? (error instanceof Error ? error.message : String(error));
  const found = code === 'EADDRINUSE' ? listener?.() : undefined;
  const which = where.startsWith('/') ? 'ss -lxp' : 'ss -lntp';
  const who = code !== 'EADDRINUSE' ? '' : found === undefined ? `; ${which} shows which` : `: ${found}`;
  return `cannot listen on ${where}: ${SENTENCES[code] ?? says}${who}`;
}
