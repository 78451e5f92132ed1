/**
 * What roots are asked for whose key is elsewhere. The request for an intermediate is in the store, because its key is
 * here; all others follow from the records, and are the same for every process.
 */
import { join } from 'node:path';
import { lastIntermediate, rootOf } from '../authority/records.ts';
import { writeCertificate } from '../ceremony/root.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { AskedIntermediate } from '../store/request-store.ts';
import type { AuthorityStore, StoredAuthority } from '../store/store.ts';

/** One file that waits for its answer. */
export interface OpenRequest {
  readonly kind: 'intermediate' | 'voucher' | 'crl';
  /** Serial of the root that is asked. */
  readonly root: string;
  /** Tells it from others of its kind: of the key, of the root that is vouched for, or the number of the list. */
  readonly label: string;
  readonly madeAt: Date;
  /** What waits for the answer. */
  readonly holds: 'issuing' | 'rotation' | 'list';
  /** The end of what is in force instead; undefined if nothing is. */
  readonly until: Date | undefined;
  readonly pem: string;
  /** Where the CA has written it. */
  readonly file: string;
}

export interface OpenDeps {
  readonly keys: Pick<KeyHomes, 'intermediate'>;
  readonly store: AuthorityStore;
  readonly clock: { now(): Date };
  /** Requests are written to this folder, for the person who carries them. */
  readonly folder: string;
}

/** Those for intermediates first. Throws store. */
export async function openNow(deps: OpenDeps): Promise<readonly OpenRequest[]> {
  const [asked, records] = [await deps.store.authorityRequests(), await deps.store.authorities()];
  const found: OpenRequest[] = [];
  for (const each of asked) {
    const root = records.find(({ serial }) => serial === each.root);
    if (root !== undefined && isAsked(root)) found.push(await intermediateRequest(each, root, records, deps));
  }
  return [...found, ...voucherRequests(records, deps)];
}

/** Whether a root may be asked for intermediates: one that signs, or is to sign by the rotation that is under way. */
export const isAsked = (root: StoredAuthority): boolean =>
  isOffline(root) && ['prepared', 'published', 'active'].includes(root.state);

async function intermediateRequest(
  { label, root: serial, madeAt, pem }: AskedIntermediate,
  root: StoredAuthority,
  records: readonly StoredAuthority[],
  { keys, clock, folder }: OpenDeps,
): Promise<OpenRequest> {
  const about = { kind: 'intermediate', root: serial, label, madeAt, pem } as const;
  const file = join(folder, `intermediate-${serial}.pem`);
  if (root.state !== 'active') return { ...about, file, holds: 'rotation', until: undefined };
  const signs = await lastIntermediate(records, root, { now: clock.now(), keys: keys.intermediate });
  return { ...about, file, holds: 'issuing', until: signs?.notAfter };
}

/** For each root that is prepared: agents take it by the word of the root that signs alone. */
function voucherRequests(
  records: readonly StoredAuthority[],
  { folder }: Pick<OpenDeps, 'folder'>,
): readonly OpenRequest[] {
  const active = rootOf(records);
  if (!isOffline(active)) return [];
  return records
    .filter(({ kind, state }) => kind === 'root' && state === 'prepared')
    .map(({ serial, certificate, movedAt }) => ({
      kind: 'voucher',
      root: active.serial,
      label: serial,
      madeAt: movedAt,
      holds: 'rotation',
      until: undefined,
      pem: writeCertificate(certificate),
      file: join(folder, `voucher-${serial}.pem`),
    }));
}
