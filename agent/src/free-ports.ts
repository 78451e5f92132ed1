/** The ports of the config, tried before the agent joins: a join may use up evidence that can be shown once only. */
import { once } from 'node:events';
import net from 'node:net';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { cannotListen } from '@chancery/shared/text/listening.ts';
import { listeningProcess } from '@chancery/shared/unix/port-listener.ts';
import type { AgentSettings } from './config/schema.ts';

interface Port {
  /** Where the config, or a flag, has it. */
  readonly where: string;
  /** `host:port`. */
  readonly listen: string;
}

/**
 * Throws unavailable with the line of the config and the process that has a port. The ports are free again afterwards:
 * until there is a certificate, connections are refused as if nothing listened.
 */
export const ensureConfiguredPortsFree = (settings: AgentSettings): Promise<void> =>
  ensurePortsFree(portsOf(settings));

/** As `ensureConfiguredPortsFree`, of these ports. */
export async function ensurePortsFree(ports: readonly Port[]): Promise<void> {
  const held: net.Server[] = [];
  try {
    for (const port of ports) held.push(await hold(port));
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

function portsOf({ gateway, connect, http, where }: AgentSettings): readonly Port[] {
  const at = (path: readonly PropertyKey[], listen: string): Port => ({ where: where?.(path) ?? '', listen });
  return [
    ...(http === undefined ? [] : [at(['http'], http.listen)]),
    ...(gateway === undefined ? [] : [at(['gateway', 'listen'], gateway.listen)]),
    ...connect.flatMap(({ listen }, index) =>
      listen.startsWith('unix:') ? [] : [at(['connect', index, 'listen'], listen)],
    ),
  ];
}

async function hold({ where, listen }: Port): Promise<net.Server> {
  const { host, port } = hostAndPort(listen);
  const server = net.createServer((socket) => socket.destroy());
  try {
    await once(server.listen({ host, port }), 'listening');
    return server;
  } catch (error) {
    const says = cannotListen(listen, error, () => listeningProcess(port));
    throw new IdentityError('unavailable', where === '' ? says : `${where}: ${says}`, { cause: error });
  }
}
