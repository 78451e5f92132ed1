/**
 * Many whole agents in this process, each a node of its own by an ID token: real TLS, real streams, keys and files of
 * their own.
 */
import { randomBytes } from 'node:crypto';
import { type Agent, startAgent } from '@chancery/agent/agent.ts';
import { readAgentConfig } from '@chancery/agent/config.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TestIssuer } from '../oidc/issuer.ts';
import { type CaFolder, makeAgent } from '../processes.ts';

/** An exchange with more of them at once would wait at the CA. */
const AT_ONCE = 16;
const VARIABLE = 'FLEET_TOKEN';

/** For the CA's config. */
export const fleetAttestor = (hub: TestIssuer, trustDomain: string): object => ({
  fleet: { issuer: hub.url, audience: `chancery://${trustDomain}`, claims: { fleet: ['1'] } },
});

/** The SPIFFE ID of each has its subject. */
export const fleetIdentity = (trustDomain: string, ttl: string): object => ({
  ...{
    kind: 'Identity',
    name: 'fleet',
    platform: 'oidc/fleet',
    id: `spiffe://${trustDomain}/fleet/{subject}`,
  },
  x509: { ttl },
});

export interface Fleet {
  readonly agents: readonly Agent[];
  /** What any of them said of a renewal that failed, or of a bundle that it refused. */
  readonly failures: readonly string[];
  close(): Promise<void>;
}

export interface FleetOptions {
  readonly ca: CaFolder;
  readonly hub: TestIssuer;
  readonly count: number;
}

/** Each has a certificate when it resolves. The caller closes it. */
export async function startFleet({ ca, hub, count }: FleetOptions): Promise<Fleet> {
  const stop = new AbortController();
  const failures: string[] = [];
  const log = failuresOnly(failures);
  const agents: Agent[] = [];
  const config = { ca: { address: `127.0.0.1:${ca.port}`, bundle: ca.bundle } };
  const start = async (n: number): Promise<void> => {
    const evidence = { oidc: { issuer: 'fleet', tokenVariable: VARIABLE } };
    const settings = readAgentConfig(makeAgent(ca, `fleet-${n}`, { ...config, evidence }).config);
    // Read for each exchange: a token is good for one key.
    const claims = { sub: `agent-${n}`, aud: `chancery://${ca.trustDomain}`, fleet: '1' };
    const env = {
      get [VARIABLE]() {
        return hub.token(claims);
      },
    };
    const deps = { clock: systemClock, random: Math.random, randomBytes, log, env, version: 'fleet' };
    agents.push(await startAgent(settings, deps, stop.signal));
  };
  const waiting = Array.from({ length: count }, (_, n) => n).values();
  const some = async (): Promise<void> => {
    for (const n of waiting) await start(n);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  return {
    agents,
    failures,
    close: async () => {
      stop.abort();
      await Promise.all(agents.map((agent) => agent.close()));
    },
  };
}

function failuresOnly(failures: string[]): Log {
  const note = (fields: object, message: string): void => {
    if (!/could not be renewed|is refused/.test(message)) return;
    const { err } = fields as { readonly err?: unknown };
    failures.push(`${message}: ${err instanceof Error ? err.message : ''}`);
  };
  return { debug() {}, info() {}, warn: note, error: note };
}
