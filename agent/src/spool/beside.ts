/** Records of calls that go to the spool and to a file beside it: each is in both, or its call is not let in. */
import { type CallSpool, letsIn, type SpooledEvent } from './call-spool.ts';

type Into = (...events: readonly SpooledEvent[]) => void;

export interface Beside {
  readonly spool: Pick<CallSpool, 'record' | 'ensureRoom'>;
  readonly file: Into | undefined;
}

/**
 * Writes to the file first: where that fails, a call that is refused for it must not be in the audit log of the CA as
 * an allowed one. The records of answers go to the spool all the same. Throws audit_spool, and what the file throws.
 */
export function recordBeside({ spool, file }: Beside, events: readonly SpooledEvent[]): void {
  spool.ensureRoom(events);
  let failed: { readonly error: unknown } | undefined;
  try {
    file?.(...events);
  } catch (error) {
    failed = { error };
    if (letsIn(events)) throw error;
  }
  spool.record(...events);
  if (failed !== undefined) throw failed.error;
}
