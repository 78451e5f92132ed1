/** The seam that every platform fits on the agent's side; it mirrors ca/attestors name for name. */
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { z } from 'zod';

/** Collects one platform's evidence. Owns whatever device or client it opened. */
export interface EvidenceSource {
  /** The attestor's name at the CA. */
  readonly platform: string;
  /** Starts one exchange for the key with this SubjectPublicKeyInfo. Throws IdentityError. */
  begin(spki: Uint8Array, signal: AbortSignal): Promise<Exchange>;
  /** Makes the key to be certified, where the platform keeps it; the agent makes its own where this is missing. */
  createKey?(): Promise<PlatformKey>;
  close(): Promise<void>;
}

/** A key that never leaves its platform. Not to be used while an exchange is open: the device is busy. */
export interface PlatformKey extends Signer {
  /** For programs that can use it where it is. */
  readonly pem: string;
}

export interface Exchange {
  /** What the platform says first; empty where it speaks only when challenged. */
  readonly opening: Uint8Array;
  /** Answers the CA's one question; `binding` is computed from the challenge's nonce. */
  answer(question: Uint8Array, binding: Uint8Array): Promise<Uint8Array>;
  /** Frees what the exchange holds in the device, whether it was answered or not. */
  end(): Promise<void>;
}

/** One line of the list in index.ts. */
export interface EvidenceKind<Config> {
  readonly platform: string;
  readonly schema: z.ZodType<Config>;
  create(config: Config): EvidenceSource;
}
