/**
 * Brings the authorities to where they should be now, one transition of the store after another: another process may
 * come between any two, and a crash leaves a state that the next look goes on from.
 */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import { hasStoodBy } from '../keys/standby-keys.ts';
import { keepsKey } from '../store/authority-states.ts';
import type { AuthorityRecord, StoredAuthority, StoredJwtKey } from '../store/store.ts';
import { type AuthorityDeps, certify, type Parent } from './certify.ts';
import { type Issuer, issuerOf } from './issuer.ts';
import {
  ensureInTime,
  ensureRootOf,
  freshIntermediate,
  lastIntermediate,
  movesFor,
  rootOf,
} from './records.ts';

export interface Settled {
  readonly records: readonly StoredAuthority[];
  /** As they were at the same moment. */
  readonly jwtKeys: readonly StoredJwtKey[];
  /** The active intermediate under the active root; undefined while an offline root has signed none that is valid. */
  readonly issuer: Issuer | undefined;
}

/** Each step is one; without another process three are enough. */
const MAX_STEPS = 16;

/**
 * Reads the records until nothing is left to do: an intermediate that is fresh is active, and what has ended is
 * removed. `known` is used again if it still signs. Throws store, config, authority_unfit, file, file_mode, lint.
 */
export async function settle(deps: AuthorityDeps, known: Issuer | undefined): Promise<Settled> {
  const { store, keys, clock } = deps;
  let made: AuthorityRecord | undefined;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const { authorities: records, jwtKeys } = await store.allAuthorities();
    const now = clock.now();
    const root = rootOf(records);
    ensureRootOf(root, deps.trustDomain);
    // Under a root that ends soon a new one is past half of its life at once, and yet the best that there is.
    const choice = { now, keys: keys.intermediate };
    const chosen =
      (await freshIntermediate(records, root, choice)) ??
      records.find(({ serial }) => serial === made?.serial) ??
      (isOffline(root) ? await lastIntermediate(records, root, choice) : undefined);
    if (chosen === undefined && isOffline(root)) return { records, jwtKeys, issuer: undefined };
    const moves = chosen === undefined ? [] : movesFor(records, chosen, now);
    if (chosen === undefined) made = await makeIntermediate(root, deps);
    else if (moves.length > 0) await store.moveAuthorities(moves, { type: 'authority.moved', moves });
    else return { records, jwtKeys, issuer: await signing(chosen, deps, known) };
  }
  throw new IdentityError('store', 'other processes changed the authorities at the same time; try again');
}

/** `known` if it is the chosen one, else that one with its key. Throws file, file_mode. */
export async function signing(
  chosen: AuthorityRecord,
  { keys, crlBase }: AuthorityDeps,
  known: Issuer | undefined,
): Promise<Issuer> {
  const { serial, key } = chosen;
  return known?.serial === serial ? known : issuerOf(chosen, await keys.intermediate.load(key), crlBase);
}

/** Makes an intermediate under this root, prepared. Throws authority_unfit, store, file, file_mode, lint. */
export async function makeIntermediate(root: AuthorityRecord, deps: AuthorityDeps): Promise<AuthorityRecord> {
  return certify({ kind: 'intermediate', state: 'prepared' }, deps, await parentOf(root, deps));
}

/** No certificate begins so. */
const PROBE = utf8('chancery: the key of a root is asked whether it signs\n');

/**
 * What an intermediate is made with, by a root that signs now: some homes let a key be read and not used, and a key of
 * an intermediate that is made before that shows would be left behind at each try. Throws authority_unfit, key_missing,
 * key_refused, file, file_mode.
 */
export async function parentOf(root: AuthorityRecord, { keys, clock }: AuthorityDeps): Promise<Parent> {
  const certificate = parseCertificate(root.certificate);
  ensureInTime(certificate, clock.now());
  const signer = await keys.root.load(root.key);
  await signer.sign(PROBE);
  return { certificate, signer };
}

/** An authority of any kind, as far as its key goes. */
type Keyed = Pick<AuthorityRecord | StoredJwtKey, 'serial' | 'kind' | 'state' | 'key'>;

/**
 * Removes the keys that nothing will sign with again, of the authorities that are not in `forgotten`; does nothing if
 * they are gone. Returns the first failure: a home that does not answer, or that the config has no more, must not stop
 * a CA that signs with others. Adds to `forgotten`.
 */
export async function forgetKeys(
  records: readonly Keyed[],
  keys: KeyHomes,
  forgotten: Set<string>,
): Promise<unknown> {
  const failures = new Map<string, unknown>();
  for (const { serial, kind, key } of records.filter((each) => !keepsKey(each))) {
    if (forgotten.has(serial) || failures.has(key.home)) continue;
    try {
      if (await keys[kind].has(key)) await keys[kind].remove(key);
      forgotten.add(serial);
    } catch (error) {
      failures.set(key.home, error);
    }
  }
  return failures.values().next().value;
}

/**
 * Brings the keys of roots that stand by no longer to where they stay: the folder of standby keys may be carried away
 * again. Returns the first failure, after which it is tried again with the next look.
 */
export async function keepKeys(records: readonly AuthorityRecord[], keys: KeyHomes): Promise<unknown> {
  let failure: unknown;
  for (const { key } of records.filter(hasStoodBy)) {
    try {
      await keys.standby.keep(key);
    } catch (error) {
      failure ??= error;
    }
  }
  return failure;
}
