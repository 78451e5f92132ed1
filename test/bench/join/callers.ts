/** The agents of bench `join`: their own evidence sources and join code, as many of them as join at once. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { EvidenceConfig, openEvidence } from '@chancery/agent/evidence/index.ts';
import { type Target, tlsTarget, unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { CaFolder } from '../../kit/processes.ts';
import type { FakeTpm } from '../../kit/tpm/fake-tpm.ts';
import { type Places, TRUST_DOMAIN } from './places.ts';

export const AT_ONCE = 64;
/** To the CA, kept: what a connection costs is the same for all platforms, and no join's. */
const CHANNELS = 4;

export interface Caller {
  readonly name: string;
  /** Whether its platform is in the other process. */
  readonly remote: boolean;
  join(agent: number): Promise<void>;
  /** What stands in for the platform in this process has taken so far. */
  ownMs(): number;
  close(): void;
}

export interface Prepared {
  readonly ca: CaFolder;
  readonly bundle: Bundle;
}

interface Parts extends Places {
  readonly dir: string;
  readonly tpm: FakeTpm;
}

export function callersOf({ ca, bundle }: Prepared, { dir, places, files, tpm }: Parts): readonly Caller[] {
  const tls = () => tlsTarget(`127.0.0.1:${ca.port}`, bundle, undefined, systemClock);
  const unix = () => unixTarget(ca.joinSocket);
  const stopwatch = { ms: 0 };
  const make = (name: string, source: () => EvidenceSource, target = tls): Caller => ({
    name,
    remote: Object.hasOwn(places, name),
    ownMs: () => (name === 'tpm' ? stopwatch.ms : 0),
    ...agentsWith(Array.from({ length: AT_ONCE }, source), target, bundle),
  });
  const credentials = joinPath(dir, 'pod');
  mkdirSync(credentials);
  for (const name of ['token', 'ca.crt']) writeFileSync(joinPath(credentials, name), files[name] ?? '');
  return [
    make('unix', () => open({ unix: {} }, {}), unix),
    make('tpm', () => fakeEvidence(tpm, stopwatch)),
    ...Object.entries(places).map(([name, { evidence, env }]) => {
      // AWS's SDK looks nowhere else.
      Object.assign(process.env, env);
      return make(name, () => open(withCredentials(evidence, credentials), env));
    }),
  ];
}

/** Each has its own connections to its platform, as on machines of their own; all are one place to the CA. */
function agentsWith(sources: readonly EvidenceSource[], target: () => Target, bundle: Bundle) {
  const instance = randomBytes(16);
  const clients = Array.from({ length: CHANNELS }, () => {
    const { address, credentials, options } = target();
    return new AttestationClient(address, credentials, options);
  });
  return {
    join: async (agent: number): Promise<void> => {
      const [client, evidence] = [clients[agent % CHANNELS], sources[agent]];
      if (client === undefined || evidence === undefined) throw new Error(`there is no agent ${agent}`);
      const signal = AbortSignal.timeout(20_000);
      await join(client, { evidence, bundle, id: undefined, instance, clock: systemClock, signal });
    },
    close: (): void => {
      for (const client of clients) client.close();
      for (const source of sources) void source.close();
    },
  };
}

const open = (evidence: object, env: Readonly<Record<string, string>>): EvidenceSource =>
  openEvidence(EvidenceConfig.parse(evidence), {
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
    env,
    clock: systemClock,
  });

/** A pod's folder with its own token and the cluster's CA; its path is known here only. */
function withCredentials(evidence: object, credentials: string): object {
  if (!('kubernetes' in evidence) || typeof evidence.kubernetes !== 'object') return evidence;
  return { kubernetes: { ...evidence.kubernetes, credentials } };
}

/** A TPM without a device, which would need 100 ms for each exchange and serve one after the other. */
function fakeEvidence(tpm: FakeTpm, stopwatch: { ms: number }): EvidenceSource {
  const timed = (act: () => Uint8Array): Uint8Array => {
    const before = performance.now();
    const bytes = act();
    stopwatch.ms += performance.now() - before;
    return bytes;
  };
  return {
    platform: 'tpm',
    begin: async () => ({
      opening: timed(() => tpm.opening(false, {})),
      answer: async (question, binding) => timed(() => tpm.answer(question, binding, false, {})),
      async end() {},
    }),
    async close() {},
  };
}
