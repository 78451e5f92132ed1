/** Addresses as configs write them. */

export const MAX_PORT = 65_535;

/** `host:port`; an IPv6 host stands in brackets, which are taken off. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/** An IPv6 host is put in brackets. */
export const writeHostAndPort = ({ host, port }: { host: string; port: number | string }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;
