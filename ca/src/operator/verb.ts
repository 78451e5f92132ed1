/** What every verb of the operator does, at any door: check the role, write the event, then act. */
import type { Audit } from '@chancery/shared/audit/event.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';

/** A reader may ask, a writer may also change. */
export type Role = 'reader' | 'writer';

/** Who asks, as the door has found. */
export interface Asker {
  /** For refusals and the audit log. */
  readonly address: string;
  /** The process at the other end of the admin socket; undefined on every other door. */
  readonly local?: Pick<LivePeer, 'uid' | 'ensureStillThere'> | undefined;
}

/**
 * Throws operator_role or peer_gone at once, before a door reads the request. The returned function acts. It throws
 * what its verb throws, and store if the event of a change cannot be written: then nothing is changed.
 */
export type Verb<Value, Answer> = (asker: Asker) => (value: Value) => Promise<Answer>;

export interface VerbDeps {
  readonly audit: Audit;
  /** The user that runs the CA; root is always an operator. */
  readonly ownUid: number;
}

/** A verb that changes nothing, and writes no event. */
export function reading<Value, Answer>(
  run: (value: Value) => Promise<Answer>,
  { ownUid }: VerbDeps,
): Verb<Value, Answer> {
  return (asker) => {
    ensureRole('reader', asker, ownUid);
    return run;
  };
}

export interface Writing<Value, Answer> {
  readonly name: string;
  /** What will be changed, for the audit log; undefined if nothing will be, as in a dry run. */
  readonly about: (value: Value) => string | undefined;
  /** `by` is the operator. */
  readonly run: (value: Value, by: string) => Promise<Answer>;
}

/**
 * A verb that changes state. Its event is durable before any change. The change has an event of its own, in its
 * transaction.
 */
export function writing<Value, Answer>(
  { name, about, run }: Writing<Value, Answer>,
  deps: VerbDeps,
): Verb<Value, Answer> {
  return (asker) => {
    const by = ensureRole('writer', asker, deps.ownUid);
    return async (value) => {
      const what = about(value);
      if (what !== undefined)
        await deps.audit({ type: 'operator.acting', verb: name, about: what.slice(0, 2000), by });
      return run(value, by);
    };
  };
}

/** Returns how the audit log names the operator. */
function ensureRole(role: Role, { address, local }: Asker, ownUid: number): string {
  ensure(local !== undefined, 'operator_role', `operators call on the admin socket, not from ${address}`);
  const { uid } = local;
  ensure(rolesOf(uid, ownUid).includes(role), 'operator_role', `uid ${uid} is no operator`);
  local.ensureStillThere();
  return `uid ${uid}`;
}

/** Root and the CA's own user have both roles, and nobody else has one. */
const rolesOf = (uid: number, ownUid: number): readonly Role[] =>
  uid === 0 || uid === ownUid ? ['reader', 'writer'] : [];
