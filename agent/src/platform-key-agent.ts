/**
 * An agent whose keys are made in its platform (a TPM) and stay there, for programs that use such a key by its file.
 * Node's TLS cannot, so this agent shows no certificate to the CA: it joins anew each time, with fresh evidence and a
 * fresh key, and learns of the bundle then and not before. What it has made is in its outputs, good on this machine
 * only; it keeps nothing else.
 */
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { whenSetBack } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type Agent, type AgentDeps, prepareFolder } from './agent.ts';
import type { AgentSettings } from './config.ts';
import { findEvidence } from './evidence/auto.ts';
import type { EvidenceSource, PlatformKey } from './evidence/evidence.ts';
import { alarm, expiredUnnoticed } from './svid/alarm.ts';
import { tlsTarget } from './svid/channel.ts';
import { type Certified, joinWith } from './svid/obtain.ts';
import { untilItWorks } from './svid/retry.ts';
import { rotate } from './svid/rotate.ts';
import { SkewWarning } from './svid/skew.ts';
import { follow } from './trust/accept.ts';
import { bootstrapBundle, bootstrapOf } from './trust/bootstrap.ts';

/** An X.509-SVID whose private key is somewhere else. */
export interface PlatformSvid extends Certified {
  readonly key: PlatformKey;
}

export interface PlatformKeyAgent
  extends Pick<Agent, 'bundle' | 'renewalFailure' | 'skewSeconds' | 'ended' | 'close'> {
  readonly svid: Source<PlatformSvid>;
}

/** Resolves with the first SVID, however long the CA takes to answer. Throws as `startAgent` does. */
export async function startPlatformKeyAgent(
  settings: AgentSettings,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<PlatformKeyAgent> {
  prepareFolder(settings.dataDir);
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const { trustDomain } = settings;
  const evidence = await findEvidence(settings.evidence, { ...deps, trustDomain }, until);
  const bundle = new LiveValue<Bundle>(
    missing,
    await untilItWorks(() => bootstrapBundle(bootstrapOf(settings)), deps, until),
  );
  const own = { instance: deps.randomBytes(16), skew: new SkewWarning(deps.log) };
  const issuer: Issuer = { settings, deps, evidence, bundle, ...own, signal: until };
  const svid = new LiveValue<PlatformSvid>(missing, await untilItWorks(() => obtain(issuer), deps, until));
  let renewalFailure: string | undefined;
  const ended = rotate(
    svid.current(),
    {
      ...deps,
      setBack: (signal) => whenSetBack(deps.clock, signal),
      renew: () => obtain(issuer),
      publish: (next) => {
        deps.log.info({ id: next.id, notAfter: next.notAfter }, 'rotated');
        renewalFailure = undefined;
        svid.publish(next);
      },
      onExpired: (expired) => {
        renewalFailure = expiredUnnoticed({ ...deps, svid: expired });
      },
      onFailure: (error, failures) => {
        renewalFailure = alarm(error, failures, { ...deps, svid: svid.current() });
      },
    },
    until,
  );
  // Whoever asks for it hears of it; nobody asking must not end the process.
  ended.catch(() => {});
  const close = async (): Promise<void> => {
    stop.abort();
    await ended.catch(() => {});
    await evidence.close();
  };
  const skewSeconds = () => own.skew.seconds();
  return { svid, bundle, renewalFailure: () => renewalFailure, skewSeconds, ended, close };
}

const missing = () => new IdentityError('unavailable', 'there is no SVID yet');

interface Issuer {
  readonly settings: AgentSettings;
  readonly deps: AgentDeps;
  readonly evidence: EvidenceSource;
  readonly bundle: LiveValue<Bundle>;
  readonly instance: Uint8Array;
  readonly skew: SkewWarning;
  readonly signal: AbortSignal;
}

async function obtain(issuer: Issuer): Promise<PlatformSvid> {
  const { settings, deps, evidence, instance, skew, signal } = issuer;
  const { clock } = deps;
  const key = await evidence.createKey?.();
  if (key === undefined) throw new IdentityError('config', `${evidence.platform} keeps no keys`);
  const bundle = issuer.bundle.current();
  const target = tlsTarget(settings.ca.address, bundle, undefined, clock);
  const client = new AttestationClient(target.address, target.credentials, target.options);
  try {
    const request = { evidence, bundle, id: settings.id, instance, skew, clock, signal };
    const { certified, authorities } = await joinWith(client, key, request);
    follow(issuer.bundle, { ...bundle, authorities }, deps.log);
    return { ...certified, key };
  } finally {
    client.close();
  }
}
