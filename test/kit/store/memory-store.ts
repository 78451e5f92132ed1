/** A store without a file. */
import { openSqlite } from '@chancery/ca/store/sqlite/sqlite.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';

export const memoryStore = (clock: Clock): Promise<Store> => openSqlite(':memory:', clock);
