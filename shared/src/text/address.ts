/** Addresses as configs write them. */

export const MAX_PORT = 65_535;

/** `host:port`; an IPv6 host stands in brackets, which are taken off. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/**
 * Whether two listeners at these addresses are in each other's way. An address of all interfaces has the others of its
 * port; `localhost` is 127.0.0.1 or ::1. Each listener on port 0 gets a port of its own.
 */
export function overlap(a: string, b: string): boolean {
  const [one, other] = [hostAndPort(a), hostAndPort(b)];
  if (one.port !== other.port || one.port === 0) return false;
  return one.host === other.host || hasAll(one.host, other.host) || hasAll(other.host, one.host);
}

/** `::` has the IPv4 addresses, too (Linux, ipv6(7): bindv6only is 0). */
const hasAll = (wide: string, host: string): boolean =>
  wide === '::' ||
  (wide === '0.0.0.0' && (host === '::' || !host.includes(':'))) ||
  (wide === 'localhost' && (host === '127.0.0.1' || host === '::1'));

/** An IPv6 host is put in brackets. */
export const writeHostAndPort = ({ host, port }: { host: string; port: number | string }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;
