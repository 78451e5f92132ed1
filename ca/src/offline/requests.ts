/**
 * What a CA asks of roots that are offline, by files: its next intermediate at half of the life of the one that signs,
 * what a rotation needs of them, and their revocation lists. The truth is in the store.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import { rootOf } from '../authority/records.ts';
import { labelOf } from '../ceremony/block.ts';
import { CRL_LABEL } from '../ceremony/list.ts';
import { isOffline } from '../keys/offline.ts';
import { keepFiles } from './files.ts';
import {
  ask,
  dropStale,
  dueRoots,
  type Imported,
  type IntermediateDeps,
  takeIntermediate,
} from './intermediates.ts';
import { type ListDeps, listRequests, takeList } from './lists.ts';
import { type OpenRequest, openNow } from './open.ts';

export type RequestDeps = IntermediateDeps & ListDeps;

export type Requests = ReturnType<typeof openRequests>;

/** Steps are made one after the other in this process. Needs no closing. */
export function openRequests(deps: RequestDeps) {
  const turns = new Turns(1);
  let open: readonly OpenRequest[] = [];
  const look = async (): Promise<readonly OpenRequest[]> => {
    open = [...(await openNow(deps)), ...(await listRequests(deps))];
    return open;
  };
  return {
    /** What was open when it was looked at last, for metrics. */
    known: (): readonly OpenRequest[] => open,
    /** What is open. Throws store. */
    open: look,
    /** Asks for what is due, and writes the files of what is open. Throws store, file, key_unreachable. */
    keepUp: () =>
      turns.run(async () => {
        await dropStale(deps);
        for (const root of await dueRoots(deps)) await ask(root, undefined, deps);
        keepFiles(deps.folder, await look());
      }),
    /** Asks the root that signs for an intermediate, unless more than a list is open. Throws rotation. */
    ask: (by: string) =>
      turns.run(async (): Promise<readonly OpenRequest[]> => {
        await dropStale(deps);
        if ((await look()).every(({ kind }) => kind === 'crl')) await askActive(by, deps);
        const asked = await look();
        ensure(asked.length > 0, 'store', 'another process has changed the authorities; try again');
        keepFiles(deps.folder, asked);
        return asked;
      }),
    /** Takes an intermediate or a list. Throws authority_answer, crl, certificate_parse, key_wrong, store. */
    take: (bytes: Uint8Array, by: string, dryRun: boolean) =>
      turns.run(async (): Promise<Imported> => {
        const isList = labelOf(bytes) === CRL_LABEL;
        const imported = await (isList ? takeList : takeIntermediate)(bytes, by, dryRun, deps);
        if (!dryRun) keepFiles(deps.folder, await look());
        return imported;
      }),
  };
}

/** Throws rotation where nothing is to be carried, either. */
async function askActive(by: string, deps: RequestDeps): Promise<void> {
  const root = rootOf(await deps.store.authorities());
  const says = 'the root is not offline: the CA makes its intermediates by itself';
  ensure(isOffline(root), 'rotation', says);
  await ask(root, by, deps);
}
