/** The honest side of bench `flood`: renewals and joins at the CA, or tool calls, at a steady rate. */
import { randomBytes } from 'node:crypto';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { tlsTarget } from '@chancery/agent/svid/channel.ts';
import { join, renew } from '@chancery/agent/svid/obtain.ts';
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { FakeTpm } from '../../kit/tpm/fake-tpm.ts';
import { McpCaller, type Target } from '../mcp/caller.ts';

/** One honest act; it throws where it fails. */
export type Act = () => Promise<unknown>;

export interface Steady {
  readonly latencies: readonly number[];
  readonly failures: readonly unknown[];
}

const PER_SECOND = 20;

/** Acts in turn, by the clock: no slow answer hides behind a slow question. */
export async function steadily(acts: readonly Act[], ms: number): Promise<Steady> {
  const latencies: number[] = [];
  const failures: unknown[] = [];
  const pending: Promise<void>[] = [];
  const start = performance.now();
  for (let n = 0; (n * 1000) / PER_SECOND < ms; n += 1) {
    const planned = start + (n * 1000) / PER_SECOND;
    await sleep(Math.max(0, planned - performance.now()));
    const one = acts[n % acts.length]?.().then(
      () => void latencies.push(performance.now() - planned),
      (error: unknown) => void failures.push(error),
    );
    if (one !== undefined) pending.push(one);
  }
  await Promise.all(pending);
  return { latencies, failures };
}

/** A node with a TPM of software keys: renewals on one connection, and joins on a new one each. */
export async function nodeOf(port: number, bundle: Bundle, tpm: FakeTpm): Promise<readonly Act[]> {
  const address = `127.0.0.1:${port}`;
  const evidence = evidenceOf(tpm);
  const request = () => ({
    evidence,
    bundle,
    id: undefined,
    instance: INSTANCE,
    clock: systemClock,
    signal: AbortSignal.timeout(30_000),
  });
  const joins = async () => {
    const target = tlsTarget(address, bundle, undefined, systemClock);
    const client = new AttestationClient(target.address, target.credentials, target.options);
    try {
      return await join(client, request());
    } finally {
      client.close();
    }
  };
  const svid = await joins();
  const target = tlsTarget(address, bundle, svid, systemClock);
  const client = new IdentityClient(target.address, target.credentials, target.options);
  return [() => renew(client, request()), joins];
}
const INSTANCE = randomBytes(16);

/** Calls through connect, and by a client that makes a connection to the gateway for each. */
export async function callersOf(connect: Target, gateway: Target): Promise<readonly Act[]> {
  const kept = await McpCaller.open(connect);
  if (!(gateway.agent instanceof https.Agent)) throw new TypeError('the gateway speaks TLS');
  const fresh = await McpCaller.open(gateway);
  return [() => kept.calls(1), () => fresh.calls(1)];
}

function evidenceOf(tpm: FakeTpm): EvidenceSource {
  return {
    platform: 'tpm',
    begin: async () => ({
      opening: tpm.opening(false, {}),
      answer: async (question, binding) => tpm.answer(question, binding, false, {}),
      async end() {},
    }),
    async close() {},
  };
}
