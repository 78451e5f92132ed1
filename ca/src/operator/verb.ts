/** What every verb of the operator does, at any door: check who asks, write the event, then act. */
import type { Audit } from '@chancery/shared/audit/event.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';
import { ensureFresh, ensureRole, type Need, type Person, VERBS, type VerbName } from './roles.ts';
import type { Use } from './second.ts';

/** Who asks, as the door has found. */
export interface Asker {
  /** For refusals and the audit log. */
  readonly address: string;
  /** The process at the other end of the admin socket; undefined on every other door. */
  readonly local?: Pick<LivePeer, 'uid' | 'ensureStillThere'> | undefined;
  /**
   * Who shows a good certificate of an operator; undefined for everybody else. Asks the store: throws operator_role,
   * revoked_peer, expired_peer. `id` is that of the certificate.
   */
  readonly person?: ((() => Promise<Person>) & { readonly id?: SpiffeId }) | undefined;
}

/**
 * Throws operator_role or peer_gone at once, before a door reads the request, to everybody but operators. The returned
 * function checks role and sign-in, and acts. It throws operator_role, operator_fresh, what its verb throws, and store
 * if the event of a change cannot be written: then nothing is changed.
 */
export type Verb<Value, Answer> = (asker: Asker) => Run<Value, Answer>;

export interface Run<Value, Answer> {
  (value: Value): Promise<Answer>;
  /** For a door whose request is large: checks the role before any of it is read. Throws what `read` throws. */
  of(read: () => Promise<Value>): Promise<Answer>;
}

export interface VerbDeps {
  readonly audit: Audit;
  readonly clock: Clock;
  /**
   * For a verb that needs a fresh sign-in, of a person who signed in: takes the countersignature of this use. Throws
   * operator_second, countersign. Undefined if one person suffices.
   */
  readonly second: ((verb: VerbName, person: Person, use: Use) => Promise<void>) | undefined;
  /** Does a person's work within that person's share. Throws rate. */
  readonly shares: {
    run<T>(work: 'asks' | 'changes', person: SpiffeId, run: () => Promise<T>): Promise<T>;
  };
  /** The user that runs the CA; root is always an operator. */
  readonly ownUid: number;
}

/** An operator in the act of one verb. */
export interface Acting {
  /** How the audit log names the operator. */
  readonly by: string;
  /** Names of servers to which the verb must keep; undefined for a caller that is no owner. */
  readonly servers: readonly string[] | undefined;
  /** Undefined on the admin socket. */
  readonly person: Person | undefined;
  /** Throws operator_fresh if the operator has not signed in lately. */
  ensureFresh(): void;
  /** Where two people are needed: takes the countersignature of this use. Throws operator_second, countersign. */
  takeSecond(use: Use): Promise<void>;
}

/** A verb that changes nothing, and writes no event. */
export function reading<Value, Answer>(
  name: VerbName,
  run: (value: Value, acting: Acting) => Promise<Answer>,
  deps: VerbDeps,
): Verb<Value, Answer> {
  return (asker) => {
    const admitted = admit(name, asker, deps);
    return runOf(admitted, run, sharing('asks', asker, deps));
  };
}

export interface Writing<Value, Answer> {
  readonly name: VerbName;
  /** What will be changed, for the audit log; undefined if nothing will be, as in a dry run. */
  readonly about: (value: Value) => string | undefined;
  /** What a countersignature is for, besides the value: what `about` shows of the state. */
  readonly state?: (value: Value) => unknown;
  /** Throws what refuses it now, as a dry run does: nobody is asked to countersign what cannot be done. */
  readonly look?: (value: Value, by: string) => Promise<unknown>;
  /** Set if `run` itself takes the countersignature, because more than the value decides what is done. */
  readonly takesSecond?: true;
  /** `by` is the operator. */
  readonly run: (value: Value, by: string, acting: Acting) => Promise<Answer>;
}

/**
 * A verb that changes state. Its event is durable before any change. The change has an event of its own, in its
 * transaction.
 */
export function writing<Value, Answer>(
  { name, about, state, look, takesSecond, run }: Writing<Value, Answer>,
  deps: VerbDeps,
): Verb<Value, Answer> {
  const { fresh }: Need = VERBS[name];
  return (asker) => {
    const admitted = admit(name, asker, deps);
    const act = async (value: Value, acting: Acting): Promise<Answer> => {
      const { by } = acting;
      const what = about(value);
      if (what !== undefined) {
        if (fresh === 'always') {
          acting.ensureFresh();
          if (deps.second !== undefined && acting.person !== undefined) await look?.(value, by);
          const exact = state === undefined ? value : [value, state(value)];
          if (takesSecond !== true) await acting.takeSecond({ exact, about: [what] });
        }
        await deps.audit({ type: 'operator.acting', verb: name, about: what.slice(0, 2000), by });
      }
      return run(value, by, acting);
    };
    return runOf(admitted, act, sharing('changes', asker, deps));
  };
}

type InShare = <T>(run: () => Promise<T>) => Promise<T>;

/** Root on the admin socket, and a caller that is refused, has no share. */
const sharing =
  (work: 'asks' | 'changes', { person }: Asker, { shares }: VerbDeps): InShare =>
  (run) =>
    person?.id === undefined ? run() : shares.run(work, person.id, run);

/** The share is taken before the store is asked who it is, and before anything is read. */
const runOf = <Value, Answer>(
  admitted: () => Promise<Acting>,
  act: (value: Value, acting: Acting) => Promise<Answer>,
  inShare: InShare,
): Run<Value, Answer> =>
  Object.assign((value: Value) => inShare(async () => act(value, await admitted())), {
    of: (read: () => Promise<Value>) =>
      inShare(async () => {
        const acting = await admitted();
        return act(await read(), acting);
      }),
  });

/** Refuses at once a caller that is no operator; the returned function says who it is, and refuses by role. */
function admit(name: VerbName, { address, local, person }: Asker, deps: VerbDeps): () => Promise<Acting> {
  const { ownUid, clock, second } = deps;
  if (local !== undefined) {
    const { uid } = local;
    ensure(uid === 0 || uid === ownUid, 'operator_role', `uid ${uid} is no operator`);
    local.ensureStillThere();
    const by = `uid ${uid} by the admin socket`;
    const nothing = { ensureFresh: () => {}, takeSecond: async () => {} };
    return async () => ({ by, person: undefined, servers: undefined, ...nothing });
  }
  const ways = 'operators call on the admin socket, or with the certificate that chancery-ca login gives';
  ensure(person !== undefined, 'operator_role', `${ways}; ${address} does neither`);
  const { alone, here, command }: Need = VERBS[name];
  const there = `${command} works on the machine of the CA alone, by the admin socket; ${address} is elsewhere`;
  ensure(here !== true, 'operator_role', there);
  return async () => {
    const who = await person();
    ensureRole(name, who);
    return {
      by: who.by,
      person: who,
      servers: who.role === 'owner' ? who.servers : undefined,
      ensureFresh: () => ensureFresh(name, who, clock.now()),
      takeSecond: async (use) => {
        if (alone !== true) await second?.(name, who, use);
      },
    };
  };
}
