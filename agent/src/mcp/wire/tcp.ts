/** How soon a connection notices that the network has forgotten it: a NAT or a firewall drops a flow without a word. */

/** Without a byte for so long the kernel asks, then once a second; ten questions without an answer end it. */
export const KEEPALIVE_MS = 30_000;
