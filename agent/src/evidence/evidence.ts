/** The seam that every platform fits on the agent's side; it mirrors ca/attestors name for name. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { z } from 'zod';

/** Collects one platform's evidence. Owns whatever device or client it opened. */
export interface EvidenceSource {
  /** The attestor's name at the CA, such as "tpm" or "kubernetes/eu-1"; several are joined by "+". */
  readonly platform: string;
  /** Starts one exchange for the key with this SubjectPublicKeyInfo. Throws IdentityError. */
  begin(spki: Uint8Array, signal: AbortSignal): Promise<Exchange>;
  /** Makes the key to be certified if the platform keeps it. Without this method the agent makes its own key. */
  createKey?(): Promise<PlatformKey>;
  /** Frees what the source has open. Resolves when it is freed. */
  close(): Promise<void>;
}

/** A key that never leaves its platform. Not to be used while an exchange is open: the device is busy. */
export interface PlatformKey extends Signer {
  /** For programs that can use the key in its platform. */
  readonly pem: string;
}

export interface Exchange {
  /** The first message of the platform; empty if it only answers a challenge. */
  readonly opening: Uint8Array;
  /** Answers the CA's one question; `binding` is computed from the challenge's nonce. */
  answer(question: Uint8Array, binding: Uint8Array): Promise<Uint8Array>;
  /** Frees what the exchange holds in the device, whether it was answered or not. */
  end(): Promise<void>;
}

/**
 * Reads a regular file, up to a bound. A `trusted` file decides who is trusted: only root and the agent's user may
 * write it. Anybody may own a file with a token.
 */
export type ReadFile = (path: string, kind?: 'trusted') => Promise<Uint8Array>;

/** What a platform may use to find its evidence. */
export interface EvidenceDeps {
  readonly trustDomain: TrustDomain;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly readFile: ReadFile;
}

/** Looking needs no trust domain. */
export type DetectDeps = Omit<EvidenceDeps, 'trustDomain'>;

/** Whether this machine is on the platform, and how that was found. */
export interface Detection {
  readonly usable: boolean;
  /** What was checked and found, for a person. */
  readonly says: string;
  /** Settings beside the defaults, such as which CI system this is. */
  readonly config?: Readonly<Record<string, string>>;
}

/** How a platform is configured and made on the agent's side. */
export interface EvidenceKind<Config> {
  readonly platform: string;
  /** One sentence for the reference page. */
  readonly says: string;
  readonly schema: z.ZodType<Config>;
  /** Makes the source; the caller closes it. */
  create(config: Config, deps: EvidenceDeps): EvidenceSource;
  /** Looks for the platform with the default config, and changes nothing. Ends when `signal` aborts. Never throws. */
  detect(deps: DetectDeps, signal: AbortSignal): Promise<Detection>;
}
