/**
 * The agents of bench `revocation`. Each is a pod of its own with a certificate of its own: the CA bounds the
 * connections of one certificate and the trust streams of one node.
 */
import { randomBytes } from 'node:crypto';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { tlsTarget, unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import type { State } from '@chancery/agent/trust/state/snapshot.ts';
import { TrustState } from '@chancery/agent/trust/state/trust-state.ts';
import { watchTrust } from '@chancery/agent/trust/stream/watch.ts';
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { Cluster, type Pod } from '../../kit/kubernetes/cluster.ts';
import { live } from '../../kit/mcp/world/world.ts';
import type { CaFolder } from '../../kit/processes.ts';

export const TRUST_DOMAIN = 'bench.example';

/** What is undone at the end, the last first. */
export type Parts = (() => Promise<void> | void)[];

export interface Served {
  readonly ca: CaFolder;
  readonly bundle: Bundle;
}

/** One process as the CA sees it. */
export interface Agent {
  readonly svid: Svid;
  readonly instance: Uint8Array;
}

/** Of connections on which no certificate was shown yet, an address has 64 at the CA: for eight processes at once. */
const AT_ONCE = 6;

/** A cluster whose keys the CA has in a file: nobody is asked while pods join. */
export class Nodes {
  readonly platform = 'kubernetes/fleet';
  readonly #cluster = new Cluster(systemClock);
  readonly #account = this.#cluster.addAccount('agents', 'fleet');

  /** For the CA's config, with the name of the file that has the keys. */
  attestors(file: string): object {
    return { kubernetes: { fleet: { jwks: { issuer: this.#cluster.issuer, file } } } };
  }

  /** The content of that file. */
  keys(): string {
    return JSON.stringify(this.#cluster.signer.jwks());
  }

  /** So many new pods. */
  join(served: Served, count: number): Promise<readonly Agent[]> {
    const first = this.#cluster.pods.size;
    const pods = Array.from({ length: count }, (_, n) =>
      this.#cluster.addPod(this.#account, `fleet-${first + n}`, undefined),
    );
    return someAtOnce(pods, (pod) => joinAs(served, this.#evidenceOf(pod)));
  }

  #evidenceOf(pod: Pod): EvidenceSource {
    const tokenFor = (binding: Uint8Array): string =>
      this.#cluster.tokenFor(pod, [audienceOf(TRUST_DOMAIN, binding)]);
    return {
      platform: this.platform,
      begin: async () => ({
        opening: new Uint8Array(),
        answer: async (_question, binding) => utf8(tokenFor(binding)),
        async end() {},
      }),
      async close() {},
    };
  }
}

/** Over the CA's local socket, as a new process. */
export async function joinAs(
  { ca, bundle }: Served,
  evidence: EvidenceSource,
  id?: SpiffeId,
): Promise<Agent> {
  const { address, credentials, options } = unixTarget(ca.joinSocket);
  const client = new AttestationClient(address, credentials, options);
  const signal = AbortSignal.timeout(10_000);
  const instance = randomBytes(16);
  const clock = systemClock;
  try {
    return { svid: await join(client, { evidence, bundle, id, instance, clock, signal }), instance };
  } finally {
    client.close();
  }
}

/** What a stream needs to know of the CA. */
type Reached = Pick<Served, 'bundle'> & { readonly ca: Pick<CaFolder, 'port'> };

/** Each has a connection and a stream of its own, and has put the first state in force. Throws where one is refused. */
export function connect(
  served: Reached,
  agents: readonly Agent[],
  parts: Parts,
): Promise<readonly TrustState[]> {
  const stop = new AbortController();
  return someAtOnce(agents, async (agent) => {
    const { told, heard, watching } = follow(served, agent, stop.signal);
    parts.push(() => {
      stop.abort();
      return watching;
    });
    await heard;
    return told;
  });
}

function follow({ ca, bundle }: Reached, { svid, instance }: Agent, signal: AbortSignal) {
  const told = new TrustState(
    async () => {},
    systemClock,
    () => svid.id,
  );
  told.bundle.publish(bundle);
  const { promise: heard, resolve, reject } = Promise.withResolvers<void>();
  told.policy.onChange(() => resolve());
  const deps = {
    svid: live(svid),
    targetFor: (by: Svid) => tlsTarget(`127.0.0.1:${ca.port}`, bundle, by, systemClock),
    accept: (snapshot: State) => told.accept(snapshot),
    taken: () => ['bundle', 'policy', 'revocations'] as const,
    saved: async () => {},
    vouching: { isWanted: () => false, take: () => false },
    recovers: async () => false,
    onCrls: () => {},
    onRefused: () => {},
    handing: { toHandBack: () => [], handedBack: () => {} },
    onSuccessions: () => {},
    // An agent that is refused tries again for as long as it runs: nobody would see why the bench stands still.
    onState: (failure?: string) => failure !== undefined && reject(new Error(failure)),
    onGateways: () => {},
    instance,
    version: 'bench',
    clock: systemClock,
    random: () => 0.5,
    log: silentLog,
  };
  return { told, heard, watching: watchTrust(deps, signal) };
}

/** The answers in the order of `of`. */
async function someAtOnce<T, R>(of: readonly T[], run: (each: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const waiting = of.entries();
  const one = async (): Promise<void> => {
    for (const [n, each] of waiting) answers[n] = await run(each);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return answers;
}
