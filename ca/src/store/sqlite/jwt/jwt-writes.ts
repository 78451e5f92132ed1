/** Writes of JWT signing keys. Each has its event. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import type { AuthorityMove, ChangedRevocation, Numbered } from '../../store.ts';
import type { Taint } from '../../taint-store.ts';
import type { Numbers } from '../tables/authority-table.ts';
import type { RevocationTable } from '../tables/revocation-table.ts';
import { textOfEvent } from '../tables/rows.ts';
import type { JwtKeyRow, JwtTable } from './jwt-table.ts';

interface Tables {
  readonly jwtKeys: JwtTable;
  readonly revocations: RevocationTable;
}

interface How {
  readonly numbers: Numbers;
  readonly audit: (at: number, event: string) => void;
  readonly eventOf: (revocation: MadeRevocation) => AuditEvent;
}

/** As `writesOf`: each checks first and writes then, in the transaction of its batch. */
export const jwtWrites = ({ jwtKeys, revocations }: Tables, { numbers, audit, eventOf }: How) => ({
  saveJwtKey: (at: number, record: JwtKeyRow, event: string): Numbered => {
    const saved = jwtKeys.save(record, at, numbers);
    audit(at, event);
    return saved;
  },
  moveJwtKeys: (at: number, moves: readonly AuthorityMove[], event: string): Numbered | undefined => {
    const moved = jwtKeys.move(moves, at, numbers);
    if (moved !== undefined) audit(at, event);
    return moved;
  },
  taintJwtKey: (at: number, { draft, ...taint }: Taint, event: string): ChangedRevocation | undefined => {
    if (!jwtKeys.taint(taint, at, numbers)) return undefined;
    const sequence = numbers.next();
    const revocation = revocations.insert(draft, new Date(at), sequence);
    audit(at, event);
    audit(at, textOfEvent(eventOf(revocation)));
    return { revocation, sequence };
  },
});
