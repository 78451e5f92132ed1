/** What the agent needs to start without its CA: one file, 0600, replaced whole. It holds the private key. */
import { createPrivateKey } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { base64, equal, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { readProtectedFile, replaceFile } from '@chancery/shared/keys/secret-file.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { readJwtAuthorities } from '@chancery/shared/spiffe/jwt-authority.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { readVerifierKey } from '@chancery/shared/tlog/note.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { MAX_CROSS_CHAIN } from '@chancery/shared/x509/verify/cross.ts';
import { z } from 'zod';
import { type CrossChains, MAX_CHAINS } from './cross-chains.ts';
import { MAX_OWED, type SavedOwed } from './owed.ts';
import { loadRevocations, StoredRevocations, storeRevocations } from './revocations.ts';
import { type Kept, MAX_NOTE, type SignedNumbers } from './signed.ts';

export interface KnownGood {
  readonly svid: Svid;
  readonly bundle: Bundle;
  /** The snapshot's resources, as the CA sent them, and its numbers. */
  readonly policy: { readonly version: bigint; readonly resources: readonly string[] };
  readonly revocations: RevocationSet;
  /** Of the CA's audit log, as C2SP signed-note writes it; undefined if the CA named none. */
  readonly logKey?: string | undefined;
  /** SHA-256 of authorities that left the bundle, hexadecimal. */
  readonly left?: readonly string[];
  /** The parts that the key of the log has signed, and their numbers; none from a CA that signs no states. */
  readonly signed?: SignedNumbers;
  /** What the agent can prove of the CA's state. */
  readonly kept?: Kept | undefined;
  /** Chains from a CA above to the roots; nothing is trusted by them. */
  readonly crossChains?: CrossChains;
  /** What a restored CA has not taken back. */
  readonly owed?: readonly SavedOwed[];
  /** Among how many gateways the rates are divided; 1 if it is missing. */
  readonly gateways?: number;
}

const MAX_BYTES = 64 * 1024 * 1024;
/**
 * Older and newer agents read each other's file by this rule. A key may be added under the same version if an agent
 * that does not know it stays right without it: an agent ignores the keys that it does not know, and drops them when
 * it writes; an added key may be missing. `id`, `chain`, `key` and `renewAfter` at the top are the workload's first
 * SVID; those of further SVIDs go into an added key. Whatever takes something away (a new kind of revocation) makes an
 * older agent wrong, and needs the next version: an agent sets a file of another version aside and joins anew.
 */
const VERSION = 1;
const bytes = z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64'));
const whole = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);

const note = z.string().max(MAX_NOTE);

const Stored = z.object({
  version: z.literal(VERSION),
  id: z.string().transform(parseSpiffeId),
  chain: z.array(bytes).min(1).max(8),
  key: bytes,
  renewAfter: z.iso.datetime().transform((text) => new Date(text)),
  bundle: z.object({
    trustDomain: z.string().transform(parseTrustDomain),
    authorities: z.array(bytes).min(1),
    jwtAuthorities: z.array(z.object({ keyId: z.string(), publicKey: bytes })).optional(),
    sequence: whole,
  }),
  policy: z.object({ version: whole, resources: z.array(z.string()) }),
  revocations: StoredRevocations.transform(loadRevocations),
  logKey: z.string().optional(),
  left: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .max(64)
    .optional(),
  signed: z.partialRecord(z.enum(['bundle', 'policy', 'revocations']), whole).optional(),
  crossChains: z.array(z.array(bytes).max(MAX_CROSS_CHAIN)).max(MAX_CHAINS).optional(),
  kept: z.object({ note, checkpoint: note }).optional(),
  owed: z
    .array(
      z.object({
        ...{ note, checkpoint: note, refused: z.literal(true).optional() },
        revocations: StoredRevocations.transform(loadRevocations),
      }),
    )
    .max(MAX_OWED)
    .optional(),
  gateways: z.int().min(1).optional(),
});

/** Resolves when it is on disk. Rejects with file. */
export async function saveKnownGood(path: string, known: KnownGood): Promise<void> {
  const { svid, bundle, policy, revocations, logKey, left = [], signed = {}, kept, owed = [] } = known;
  const { crossChains = [], gateways = 1 } = known;
  const numbers = Object.entries(signed).map(([part, number]) => [part, String(number)]);
  const stored: z.input<typeof Stored> = {
    version: VERSION,
    id: svid.id,
    chain: svid.chain.map(base64),
    key: base64(svid.key.export({ type: 'pkcs8', format: 'der' })),
    renewAfter: svid.renewAfter.toISOString(),
    bundle: {
      trustDomain: bundle.trustDomain,
      authorities: bundle.authorities.map(base64),
      ...(bundle.jwtAuthorities !== undefined && {
        jwtAuthorities: bundle.jwtAuthorities.map(({ keyId, spki }) => ({ keyId, publicKey: base64(spki) })),
      }),
      sequence: String(bundle.sequence),
    },
    policy: { version: String(policy.version), resources: [...policy.resources] },
    revocations: storeRevocations(revocations),
    ...(logKey !== undefined && { logKey }),
    ...(left.length > 0 && { left: [...left] }),
    ...(numbers.length > 0 && { signed: Object.fromEntries(numbers) }),
    ...(kept !== undefined && { kept }),
    ...(crossChains.length > 0 && { crossChains: crossChains.map((each) => each.map(base64)) }),
    ...(owed.length > 0 && {
      owed: owed.map((each) => ({ ...each, revocations: storeRevocations(each.revocations) })),
    }),
    ...(gateways > 1 && { gateways }),
  };
  await replaceFile(path, utf8(JSON.stringify(stored)), 0o600);
}

/** Why a file cannot be used: it is damaged, or another version of the agent wrote it. */
export interface Unusable {
  readonly unusable: string;
}

/** Undefined if there is none. Throws file, file_mode: a file that is open to others is never used. */
export function loadKnownGood(path: string): KnownGood | Unusable | undefined {
  if (!existsSync(path)) return undefined;
  const text = Buffer.from(readProtectedFile(path, MAX_BYTES)).toString('utf8');
  try {
    return parse(text);
  } catch (error) {
    return { unusable: reasonOf(error) };
  }
}

/** Bounds the files of an agent that restarts again and again. */
const MAX_ASIDE = 5;

/** Renames an unusable file, so that an operator can find out why. Returns the new name. Throws file. */
export function setAside(path: string): string {
  const names = Array.from(
    { length: MAX_ASIDE },
    (_, at) => `${path}.unusable${at === 0 ? '' : `.${at + 1}`}`,
  );
  // The oldest files show best how it began; the last name is reused.
  const aside = names.find((name) => !existsSync(name)) ?? `${path}.unusable.${MAX_ASIDE}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    const says = systemSentence(error) ?? String(error);
    throw new IdentityError('file', `${path} could not be renamed to ${aside}: ${says}`, { cause: error });
  }
  return aside;
}

function parse(text: string): KnownGood {
  const stored: unknown = JSON.parse(text);
  const version = z.looseObject({ version: z.unknown() }).safeParse(stored).data?.version;
  ensure(version === VERSION, 'file', `version ${VERSION} is expected, found ${JSON.stringify(version)}`);
  const {
    id,
    chain,
    key: pkcs8,
    renewAfter,
    bundle,
    policy,
    revocations,
    logKey,
    left = [],
    signed = {},
    kept,
    crossChains = [],
    owed = [],
    gateways = 1,
  } = Stored.parse(stored);
  if (logKey !== undefined) readVerifierKey(logKey);
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  const { notBefore, notAfter, spki } = parseCertificate(chain[0] ?? new Uint8Array());
  ensure(equal(spki, spkiOf(key)), 'file', "the key is not the certificate's");
  return {
    svid: { id, chain, key, notBefore, notAfter, renewAfter },
    bundle: jwtIn(bundle),
    policy,
    revocations,
    logKey,
    left,
    signed,
    kept,
    crossChains,
    owed,
    gateways,
  };
}

/** Throws bundle. */
function jwtIn({ jwtAuthorities, ...bundle }: z.infer<typeof Stored>['bundle']): Bundle {
  return jwtAuthorities === undefined
    ? bundle
    : { ...bundle, jwtAuthorities: readJwtAuthorities(jwtAuthorities) };
}

/** Contains nothing of the file: a parser may quote what it could not read. */
function reasonOf(error: unknown): string {
  if (isRefusal(error, 'file')) return error.message;
  if (error instanceof z.ZodError) return `damaged at ${error.issues[0]?.path.join('.') || 'its top level'}`;
  return 'damaged';
}
