/** What the agent says of itself: facts for a program, and sentences about problems that an operator has to mend. */
import { hex } from '@chancery/shared/bytes.ts';
import type { Clock } from '@chancery/shared/clock.ts';
import { isRefusal, REFUSALS } from '@chancery/shared/errors.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { describeRevocation } from '@chancery/shared/revocation/revocation.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type { Agent } from './agent.ts';
import type { AgentSettings } from './config.ts';
import type { KeptOutputs } from './outputs/keep.ts';
import type { PlatformKeyAgent } from './platform-key-agent.ts';
import { describeSkew, isSkewed } from './svid/skew.ts';
import type { StatusReport } from './workload/local-messages.ts';

/** A restart of the CA is over by then. */
const SILENCE_SECONDS = 60;

export interface StatusParts {
  readonly agent: Agent | PlatformKeyAgent;
  /** Undefined where the key is in the platform: then there is no trust stream. */
  readonly full: Agent | undefined;
  readonly settings: Pick<AgentSettings, 'gateway' | 'connect'>;
  readonly clock: Clock;
  readonly version: string;
  readonly gatewayPort: number | undefined;
  readonly outputs: KeptOutputs | undefined;
}

export function statusOf(parts: StatusParts): StatusReport {
  const { agent, full, settings, clock, version, gatewayPort, outputs } = parts;
  const svid = agent.svid.current();
  const policy = full && policyOf(full);
  const stream = full?.trustStream();
  const { gateway, connect } = settings;
  const report = {
    version,
    spiffeId: svid.id,
    serial: hex(parseCertificate(svid.chain[0] ?? new Uint8Array()).serial),
    notAfter: svid.notAfter.toISOString(),
    renewAfter: svid.renewAfter.toISOString(),
    expired: clock.now() > svid.notAfter,
    renewalFailure: agent.renewalFailure() ?? null,
    trustStream: stream
      ? {
          up: stream.failure === undefined,
          since: stream.since.toISOString(),
          failure: stream.failure ?? null,
        }
      : null,
    skewSeconds: agent.skewSeconds() ?? null,
    policyVersion: policy === undefined ? null : Number(policy.version),
    servers: [...(policy?.servers.keys() ?? [])],
    gateway:
      gateway === undefined || gatewayPort === undefined
        ? null
        : { server: gateway.server, port: gatewayPort },
    connect,
    outputs: (outputs?.states() ?? []).map(({ dir, failure }) => ({ dir, failure: failure ?? null })),
  };
  const revoked = revocationOf(report, full, clock) ?? null;
  return { ...report, revoked, problems: problemsOf({ ...report, revoked }, clock.now()) };
}

type Facts = Omit<StatusReport, 'problems' | 'revoked'>;

/** By the set that the CA pushed, or by its answer to a caller that is cut off. */
function revocationOf(facts: Facts, full: Agent | undefined, clock: Clock): string | undefined {
  const { renewalFailure, trustStream, serial } = facts;
  const id = full?.svid.current().id;
  const found = id && revocationsOf(full)?.revoked({ id, serial }, clock.now());
  if (found !== undefined) return describeRevocation(found);
  const heard = [renewalFailure, trustStream?.failure].find((each) =>
    each?.includes(REFUSALS.revoked_peer.says),
  );
  return heard ?? undefined;
}

/** One sentence each. What will end by itself is left out. */
function problemsOf(facts: Omit<StatusReport, 'problems'>, now: Date): string[] {
  const { notAfter, renewAfter, expired, renewalFailure, revoked, trustStream, skewSeconds, outputs } = facts;
  const [due, end] = [Date.parse(renewAfter), Date.parse(notAfter)];
  const silent = trustStream === null ? 0 : (now.getTime() - Date.parse(trustStream.since)) / 1000;
  return [
    ...(revoked === null ? [] : [`this identity is revoked: ${revoked}`]),
    ...(expired ? [`the certificate expired at ${notAfter}`] : []),
    // Attempts go on for half of the time that is left after the first one.
    ...(renewalFailure !== null && !expired && now.getTime() > (due + end) / 2
      ? [`the certificate ends at ${notAfter} and renewal fails: ${renewalFailure}`]
      : []),
    ...(trustStream?.failure != null && silent > SILENCE_SECONDS
      ? [`the CA was not heard for ${Math.round(silent)} s: ${trustStream.failure}`]
      : []),
    ...(isSkewed(skewSeconds ?? undefined) && skewSeconds !== null
      ? [`${describeSkew(skewSeconds)}: set the clock`]
      : []),
    ...outputs.flatMap(({ dir, failure }) =>
      failure === null ? [] : [`${dir} is not up to date: ${failure}`],
    ),
  ];
}

function policyOf({ policy }: Agent): Policy | undefined {
  return known(() => policy.current());
}

const revocationsOf = (full: Agent | undefined) => full && known(() => full.revocations.current());

/** Undefined before the CA has said it. */
function known<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isRefusal(error, 'unavailable')) return undefined;
    throw error;
  }
}
