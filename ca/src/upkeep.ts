/** What the CA does for itself while it serves: its own certificate, its authorities, and records of long ago. */
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { caId } from '@chancery/shared/spiffe/reserved.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { OWN_NODE } from './agents/holders.ts';
import type { Authorities } from './authority/authorities.ts';
import { type IssueDeps, issue } from './authority/issue.ts';
import type { Revocations } from './revocation/revocations.ts';
import type { AuditIntake, CertificateStore } from './store/store.ts';

const SERVER_TTL_SECONDS = 86_400;
/** How often the CA looks whether something of its own is due; everything it renews has hours left then. */
const UPKEEP_SECONDS = 60;
/** How long a certificate's record outlives it. */
const KEEP_EXPIRED_DAYS = 30;

/** The CA's own certificate: issued, linted and recorded as any other. */
export async function ownSvid(deps: IssueDeps, trustDomain: TrustDomain): Promise<Svid> {
  const key = generateKey();
  const proven = verifyCsr(await writeCsr(signerOf(key)));
  const id = caId(trustDomain);
  const issued = await issue(
    {
      id,
      ...OWN_NODE,
      role: 'ca',
      identity: 'chancery-ca',
      key: proven,
      ttlSeconds: SERVER_TTL_SECONDS,
      dnsNames: [],
    },
    deps,
  );
  const { chain, notAfter, renewAfter } = issued;
  return { id, chain, key, notBefore: deps.clock.now(), notAfter, renewAfter };
}

export interface UpkeepDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: (size: number) => Uint8Array;
  readonly authorities: Authorities;
  readonly revocations: Revocations;
  readonly store: CertificateStore & Pick<AuditIntake, 'appendSoon'>;
  readonly trustDomain: TrustDomain;
  readonly svid: LiveValue<Svid>;
}

/** Works until it is closed, logs what fails, and tries again. `close` waits for the work under way. */
export function startUpkeep(deps: UpkeepDeps): { close(): Promise<void> } {
  const stop = new AbortController();
  const upkeep = keepUp(deps, stop.signal);
  // At once: agents have left the connections of a revoked certificate by then, and dial again.
  const unlisten = deps.revocations.sets.onChange(() => {
    renewOwn(deps).catch((error: unknown) =>
      deps.log.error({ err: error }, 'the certificate of the CA is revoked and could not be replaced yet'),
    );
  });
  // At once: the root that it is under may have to leave the bundle.
  const unfollow = deps.authorities.onIssuer(() => {
    renewOwn(deps).catch((error: unknown) =>
      deps.log.error(
        { err: error },
        'the certificate of the CA is under a root that retires; not replaced yet',
      ),
    );
  });
  return {
    close: () => {
      unlisten();
      unfollow();
      stop.abort();
      return upkeep;
    },
  };
}

const certificateOf = (svid: LiveValue<Svid>) =>
  parseCertificate(svid.current().chain[0] ?? new Uint8Array());

/** Undefined if peers whose clock is right accept it. */
export function whyOwnUnfit(svid: LiveValue<Svid>, now: Date): string | undefined {
  const { notBefore, notAfter } = certificateOf(svid);
  if (notBefore <= now && now <= notAfter) return undefined;
  const [from, to] = [notBefore.toISOString(), notAfter.toISOString()];
  return `the certificate of the CA is valid from ${from} to ${to}, and it is ${now.toISOString()} now`;
}

/** Whether the CA's own certificate is under the root that signs now. */
export const isOwnCurrent = (svid: LiveValue<Svid>, authorities: Authorities): boolean =>
  authorities.isUnderActiveRoot(svid.current().chain[1] ?? new Uint8Array());

/** At half of its life, when it is revoked, where it is not valid yet, and when its root retires. */
async function renewOwn(deps: UpkeepDeps): Promise<void> {
  const { clock, revocations, trustDomain, svid } = deps;
  const { id, renewAfter } = svid.current();
  const { serial, notBefore } = certificateOf(svid);
  const [now, node] = [clock.now(), OWN_NODE];
  const revoked = revocations.sets.current().revoked({ id, serial: hex(serial), node }, now);
  // From the future: the clock has been set back since.
  const isGood = revoked === undefined && notBefore <= now && now < renewAfter;
  if (isGood && isOwnCurrent(svid, deps.authorities)) return;
  svid.publish(await ownSvid(deps, trustDomain));
}

/** Some at a time: what asks the store meanwhile is answered in between. */
async function prune({ clock, store }: UpkeepDeps, signal: AbortSignal): Promise<void> {
  const before = new Date(clock.now().getTime() - KEEP_EXPIRED_DAYS * 86_400_000);
  while (!signal.aborted && (await store.prune(before)) > 0);
}

/** Renews what is the CA's own before it has to be, and forgets what expired long ago. */
async function keepUp(deps: UpkeepDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, authorities } = deps;
  while (!signal.aborted) {
    try {
      await clock.sleepUntil(new Date(clock.now().getTime() + UPKEEP_SECONDS * 1000), signal);
      await authorities.refresh();
      await renewOwn(deps);
      await prune(deps, signal);
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, 'upkeep failed; it is tried again in a minute');
    }
  }
}
