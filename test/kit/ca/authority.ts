/** A CA's authorities in memory, under a clock that a test moves. */
import { randomBytes } from 'node:crypto';
import { Authorities } from '@chancery/ca/authority/authorities.ts';
import { type AuthorityDeps, certify, createRoot } from '@chancery/ca/authority/certify.ts';
import { rootOf } from '@chancery/ca/authority/records.ts';
import { vouch } from '@chancery/ca/authority/vouch.ts';
import { type KeyHomes, oneHome } from '@chancery/ca/keys/homes.ts';
import type { AuthorityRecord, Store } from '@chancery/ca/store/store.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { KeyHome } from '@chancery/shared/keys/home.ts';
import { generateKey, type KeyAlgorithm, type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type ProvenKey, verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { NOW } from '../certificates.ts';
import { ManualClock } from '../manual-clock.ts';
import { memoryStore } from '../store/memory-store.ts';

const DAY = 86_400;
export const ROOT_TTL = 365 * DAY;
export const INTERMEDIATE_TTL = 2 * DAY;

/** Keys by serial, which a test may take away or exchange. */
export function memoryKeys(algorithm?: KeyAlgorithm): MemoryKeys {
  const signers = new Map<string, Signer>();
  const keys: KeyHome = {
    create: async (reference) => {
      const signer = signerOf(generateKey(algorithm));
      signers.set(reference, signer);
      return { place: { home: 'memory', reference }, signer };
    },
    has: async ({ reference }) => signers.has(reference),
    load: async ({ reference }) => {
      const signer = signers.get(reference);
      if (signer === undefined) throw new Error(`missing key ${reference}`);
      return signer;
    },
    remove: async ({ reference }) => void signers.delete(reference),
  };
  return { ...keys, ...oneHome(keys), signers };
}

/** A home, or the one of all kinds. */
export type MemoryKeys = KeyHome & KeyHomes & { readonly signers: Map<string, Signer> };

type Changes = Partial<Omit<AuthorityDeps, 'store' | 'keys'>> & { store?: Store; keys?: KeyHomes };

/** With a root and nothing under it, from the start of the kit's time. */
export async function makeRoot(changes: Changes = {}) {
  const clock = new ManualClock(NOW);
  const deps = {
    trustDomain: parseTrustDomain('prod.example'),
    rootTtl: ROOT_TTL,
    intermediateTtl: INTERMEDIATE_TTL,
    keys: memoryKeys(),
    store: await memoryStore(clock),
    log: silentLog,
    random: (size: number) => randomBytes(size),
    ...changes,
    clock,
    // A test whose clock leaps says so.
    cautious: () => clock.now(),
  };
  return { ...deps, root: await createRoot(deps) };
}

/** With a root, and whatever `open` made under it, from the start of the kit's time. */
export async function makeAuthorities(changes: Changes = {}) {
  const made = await makeRoot(changes);
  return { ...made, authorities: await Authorities.open(made) };
}

export const proven = async (key: Signer = signerOf(generateKey())): Promise<ProvenKey> =>
  verifyCsr(await writeCsr(key));

/** A new root in the bundle, which the active one vouches for. */
export async function publishRoot(deps: Parameters<typeof certify>[1]): Promise<AuthorityRecord> {
  const { store } = deps;
  const old = rootOf(await store.authorities());
  const root = await certify({ kind: 'root', state: 'prepared' }, deps, undefined);
  const voucher = await vouch(old, root, deps);
  const moves = [{ serial: root.serial, from: 'prepared', to: 'published' }] as const;
  await store.moveAuthorities(moves, { type: 'authority.moved', moves, voucher });
  return root;
}
