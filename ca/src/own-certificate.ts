/**
 * The certificate that the CA shows to agents. It is under the root that peers have had longest: while a root retires,
 * what knows that root alone still reaches the CA and gets the whole bundle from it (architecture.md section 7).
 */
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { caId } from '@chancery/shared/spiffe/reserved.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { OWN_NODE } from './agents/holders.ts';
import type { Authorities } from './authority/authorities.ts';
import { type IssueDeps, issue } from './authority/issue.ts';
import type { Issuer } from './authority/issuer.ts';
import type { Revocations } from './revocation/revocations.ts';

const SERVER_TTL_SECONDS = 86_400;

export interface OwnDeps extends Omit<IssueDeps, 'authorities'> {
  readonly authorities: Authorities;
  readonly revocations: Pick<Revocations, 'sets'>;
  readonly trustDomain: TrustDomain;
  readonly log: Log;
}

/** Issued, linted and recorded as any other. Made by `issue`; needs no closing. */
export class OwnCertificate {
  readonly svid: LiveValue<Svid>;
  readonly #deps: OwnDeps;
  readonly #turns = new Turns(1);

  private constructor(deps: OwnDeps, first: Svid | undefined) {
    this.#deps = deps;
    this.svid = new LiveValue<Svid>(() => new TypeError('the CA has no certificate'), first);
  }

  /** Throws what `issue` throws. */
  static async issue(deps: OwnDeps): Promise<OwnCertificate> {
    const first = deps.authorities.canSign ? await issueOwn(await issuerNow(deps), deps) : undefined;
    return new OwnCertificate(deps, first);
  }

  /**
   * Replaces it at half of its life, when it is revoked or its issuer is tainted, where it is not valid yet, and where
   * it is under another root than the one that peers have had longest. Throws what `issue` throws.
   */
  settle(): Promise<void> {
    return this.#turns.run(() => this.#settle(undefined));
  }

  /** As `settle`, under another root than that of this serial. */
  leave(root: string): Promise<void> {
    return this.#turns.run(() => this.#settle(root));
  }

  /** Undefined if peers whose clock is right accept it. */
  whyUnfit(now: Date): string | undefined {
    if (!this.svid.has()) return 'the CA has no certificate yet';
    const { notBefore, notAfter } = certificateAt(this.svid.current(), 0);
    if (notBefore <= now && now <= notAfter) return undefined;
    const [from, to] = [notBefore.toISOString(), notAfter.toISOString()];
    return `the certificate of the CA is valid from ${from} to ${to}, and it is ${now.toISOString()} now`;
  }

  async #settle(without: string | undefined): Promise<void> {
    // It has none yet, or keeps the one that it has, until an answer of the offline root comes.
    if (!this.#deps.authorities.canSign) return;
    const issuer = await issuerNow(this.#deps, without);
    if (!this.svid.has()) {
      this.svid.publish(await issueOwn(issuer, this.#deps));
      return;
    }
    const svid = this.svid.current();
    const isRightRoot = equal(certificateAt(svid, 1).issuer, issuer.certificate.issuer);
    if (isRightRoot && this.#isGood(svid)) return;
    this.svid.publish(await issueOwn(issuer, this.#deps));
  }

  #isGood(svid: Svid): boolean {
    const { clock, revocations, authorities } = this.#deps;
    const { serial, notBefore } = certificateAt(svid, 0);
    const [now, node] = [clock.now(), OWN_NODE];
    const isTainted = authorities.isTainted({ authorities: [keyNameOf(certificateAt(svid, 1))] });
    const revoked = revocations.sets.current().revoked({ id: svid.id, serial: hex(serial), node }, now);
    // From the future: the clock has been set back since.
    return !isTainted && revoked === undefined && notBefore <= now && now < svid.renewAfter;
  }
}

const certificateAt = ({ chain }: Svid, at: 0 | 1): Certificate =>
  parseCertificate(chain[at] ?? new Uint8Array());

/** The issuer of all others where the one for the CA itself is not available: most peers know the root of both. */
async function issuerNow({ authorities, clock, log }: OwnDeps, without?: string): Promise<Issuer> {
  try {
    return await authorities.ownIssuer(without);
  } catch (error) {
    const says = 'the retiring root cannot sign; peers that know only that root cannot reach the CA';
    log.warn({ err: error }, says);
    return authorities.issuer(clock.now());
  }
}

async function issueOwn(issuer: Issuer, deps: OwnDeps): Promise<Svid> {
  const { authorities, clock, trustDomain } = deps;
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
    {
      ...deps,
      authorities: {
        issuer: () => issuer,
        isAuthorityKey: (sha256) => authorities.isAuthorityKey(sha256),
        bundle: authorities.bundle,
        life: authorities.life,
      },
    },
  );
  const { chain, notAfter, renewAfter } = issued;
  return { id, chain, key, notBefore: clock.now(), notAfter, renewAfter };
}
