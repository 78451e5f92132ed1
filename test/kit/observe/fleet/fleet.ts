/**
 * A part of a fleet: many whole agents in this process, each a node of its own by an ID token, with TLS,
 * streams, keys and files of their own.
 */
import { randomBytes } from 'node:crypto';
import { type Agent, startAgent } from '@chancery/agent/agent.ts';
import { readAgentConfig } from '@chancery/agent/config/read.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TestIssuer } from '../../oidc/issuer.ts';
import { type CaAddress, makeAgent } from '../../processes.ts';

/** Of connections on which no certificate was shown yet, an address has 64 at the CA: for eight processes at once. */
const AT_ONCE = 6;
const VARIABLE = 'FLEET_TOKEN';

export interface Fleet {
  /** What any of them said of a renewal that failed, or of a bundle that it refused. */
  readonly failures: readonly string[];
  close(): Promise<void>;
}

export interface FleetOptions {
  readonly ca: CaAddress;
  /** Of the CA's platform `oidc/NAME`. */
  readonly name: string;
  readonly hub: TestIssuer;
  readonly count: number;
}

/** Each has a certificate when it resolves. The caller closes it. */
export async function startFleet({ ca, name, hub, count }: FleetOptions): Promise<Fleet> {
  const stop = new AbortController();
  const failures: string[] = [];
  const log = failuresOnly(failures);
  const agents: Agent[] = [];
  const config = { ca: { address: `127.0.0.1:${ca.port}`, bundle: ca.bundle } };
  const start = async (n: number): Promise<void> => {
    const evidence = { oidc: { issuer: name, tokenVariable: VARIABLE } };
    const settings = readAgentConfig(makeAgent(ca, `${name}-${n}`, { ...config, evidence }).config);
    // Read for each exchange: a token is good for one key.
    const claims = { sub: `${name}-${n}`, aud: `chancery://${ca.trustDomain}`, fleet: '1' };
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
