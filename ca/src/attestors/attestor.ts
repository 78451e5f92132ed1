/** The seam that every platform fits: evidence in, facts out. */

import { readPem } from '@chancery/shared/der/pem.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import type { z } from 'zod';

/**
 * An attestor turns one platform's evidence into facts, or refuses it. It does not choose a SPIFFE ID: the registry
 * does.
 */
export interface Attestor {
  /**
   * "tpm", or "kubernetes/eu-1" for one of several of a kind. The caller puts the kind before every attribute, so no
   * attestor can speak for another.
   */
  readonly type: string;
  /** `opening` is the agent's first message, unread. Throws IdentityError. */
  attest(opening: Uint8Array, turn: Turn): Promise<Facts>;
}

/** One exchange with one agent: the key to certify, and a way to ask a question. */
export interface Turn {
  /** The time at which validity is checked. */
  now(): Date;
  /** The key of the CSR, whose possession is proven. */
  readonly key: ProvenKey;
  /**
   * What the evidence must be bound to: the SHA-256 over trust domain, nonce of this stream and key (docs/issuance.md).
   */
  readonly binding: Uint8Array;
  /** The kernel-verified peer, if the call came over the CA's own socket. */
  readonly peer: LivePeer | undefined;
  /** Asks the agent one question, together with the nonce of this stream. At most once per exchange. */
  challenge(question: Uint8Array): Promise<Uint8Array>;
}

export interface Facts {
  /** The node's name on its platform, unique and never reused there. */
  readonly node: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** True if the node has at most one agent, so that a second connected one is a copy of the machine. */
  readonly exclusive: boolean;
}

/** What attestors remember between exchanges. Durable, and atomic for each node. */
export interface NodeMemory {
  /** Stores `next(previous)` for the node. If `next` throws, the old state stays and the error is thrown. */
  advance(platform: string, node: string, next: (previous: string | undefined) => string): Promise<void>;
  /** Remembers until `until` that a token came with this key. Throws jti_replay if it came with another key before. */
  bind(token: { platform: string; id: string }, keySha256: Uint8Array, until: Date): Promise<void>;
}

export interface AttestorDeps {
  readonly trustDomain: TrustDomain;
  readonly memory: NodeMemory;
  /** Reads a file of the config that decides who is trusted. Called within `inFileOf`. */
  readonly readFile: (path: string) => Uint8Array;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
}

/** How a platform is configured and made. */
export interface AttestorKind<Config> {
  readonly type: string;
  /** One sentence for the reference page. */
  readonly says: string;
  readonly schema: z.ZodType<Config>;
  /** `type` is the kind, or "kind/instance" if there may be several. Throws config. */
  create(config: Config, deps: AttestorDeps & { readonly type: string }): Attestor | Promise<Attestor>;
}

/** PEM certificates for TLS, as they are in the file. Throws config. */
export const readTlsRoots = (
  deps: Pick<AttestorDeps, 'readFile'> & { readonly type: string },
  path: string,
): Uint8Array =>
  inFileOf(deps, path, (bytes) => {
    readPem(asBuffer(bytes).toString('latin1'), 'CERTIFICATE', 'config');
    return bytes;
  });

/** Reads a file of an attestor's config. Throws config with the attestor's and the file's name. */
export function inFileOf<T>(
  { type, readFile }: Pick<AttestorDeps, 'readFile'> & { readonly type: string },
  path: string,
  read: (bytes: Uint8Array) => T,
): T {
  try {
    return read(readFile(path));
  } catch (error) {
    const says = systemSentence(error) ?? (error instanceof Error ? error.message : String(error));
    throw new IdentityError('config', `attestors.${type}: ${path}: ${says}`, { cause: error });
  }
}
