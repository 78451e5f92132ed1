/** What an operator reads where an address cannot be had. */

const SENTENCES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process has this address; ss -lntp shows which',
  EADDRNOTAVAIL: 'no interface of this machine has this address',
  EACCES:
    'permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, and a socket needs a folder to write in',
  ENOENT: 'its folder does not exist',
  ENOTFOUND: 'the name does not resolve',
};

/** `where` is host:port or a path. */
export function cannotListen(where: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const says = error instanceof Error ? error.message : String(error);
  return `cannot listen on ${where}: ${SENTENCES[code] ?? says}`;
}
