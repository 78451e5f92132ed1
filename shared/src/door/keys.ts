/** The address and the network that a peer counts for, so that one customer of a provider has one share. */
import net from 'node:net';

export interface ShareKeys {
  /** An IPv4 address, or an IPv6 /64: the smallest network that a provider gives to one customer. */
  readonly address: string;
  /** An IPv6 /48, which one customer can also have; undefined for IPv4. */
  readonly network?: string;
}

/** A second level for customers that have many IPv6 /64: what one /48 may have, in shares of one address. */
export const NETWORK_SHARES = 4;

/** `address` as node:net reports it. An IPv4-mapped address (RFC 4291 section 2.5.5.2) counts as its IPv4 address. */
export function shareKeys(address: string): ShareKeys {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (!net.isIPv6(plain)) return { address: plain };
  const groups = groupsOf(plain);
  return {
    address: `${groups.slice(0, 4).join(':')}::/64`,
    network: `${groups.slice(0, 3).join(':')}::/48`,
  };
}

function groupsOf(address: string): readonly string[] {
  const [head = '', tail = ''] = (address.split('%')[0] ?? '').split('::');
  const before = head.split(':').filter((group) => group !== '');
  const behind = tail.split(':').filter((group) => group !== '');
  if (!address.includes('::')) return before;
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - behind.length) }, () => '0');
  return [...before, ...zeros, ...behind];
}
