/** Who has signed in, with which key: kept in the store, so that every process of this CA knows it. */
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { isRecorded } from '../authority/recorded.ts';
import type { SeenPerson } from '../operator/review.ts';
import type { Person } from '../operator/roles.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { OperatorStore } from '../store/operator-store.ts';
import type { CertificateStore, NodeStore } from '../store/store.ts';
import { byOf, type Given, type Named, nameOf } from './person.ts';

/** One key of a person, until its certificate ends. */
export interface Session extends Given {
  /** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
  readonly key: string;
  readonly called: string;
  /** Seconds since 1970, as the other. */
  readonly authTime: number;
  readonly until: number;
}

/** All that is kept of one person. */
interface Kept extends Pick<Named, 'iss' | 'sub'> {
  readonly sessions: readonly Session[];
}

export interface SessionDeps {
  readonly store: NodeStore & Pick<CertificateStore, 'issuance'>;
  readonly clock: Clock;
  readonly revocations: Pick<Revocations, 'ensureGood'>;
}

const MAX_SESSIONS = 32;
const TRIES = 8;

/** The node of an operator's certificates: not one of agents, so no rotation or change waits for it. */
export const nodeOf = (name: string) => ({ platform: OWN_NODE.platform, node: `operator/${name}` });

/** Remembers a session; forgets those that ended, and the oldest beyond 32. Throws store. */
export async function remember(
  { iss, sub, name }: Pick<Named, 'iss' | 'sub'> & { readonly name: string },
  session: Session,
  { store, clock }: Pick<SessionDeps, 'store' | 'clock'>,
): Promise<void> {
  const now = clock.now().getTime() / 1000;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const before = await store.nodeState(nodeOf(name));
    const kept = before === undefined ? [] : (JSON.parse(before) as Kept).sessions;
    const sessions = [...kept.filter(({ until }) => until > now), session].slice(-MAX_SESSIONS);
    const after: Kept = { iss, sub, sessions };
    if (await store.swapNodeState(nodeOf(name), before, JSON.stringify(after))) return;
  }
  throw new IdentityError('store', 'other sign-ins of the same person came in between; try again');
}

/** Everybody who has signed in here, also those who have left: at most 10,000. */
export async function peopleSeen(store: Pick<OperatorStore, 'nodeStates'>): Promise<readonly SeenPerson[]> {
  const { platform, node } = nodeOf('');
  return (await store.nodeStates(platform, node)).map((state) => {
    const { iss, sub, sessions } = JSON.parse(state) as Kept;
    const names = [sub, nameOf({ iss, sub }), ...sessions.map(({ called }) => called)];
    const last = Math.max(...sessions.map(({ authTime }) => authTime));
    return { names: names.filter((each) => each !== ''), lastSignIn: new Date(last * 1000) };
  });
}

/**
 * As `personOf`. What needs no store is looked at now: throws revoked_peer before a call takes from the share of its
 * person, who may have signed in anew.
 */
export function findPerson(svid: Parameters<typeof personOf>[0], deps: SessionDeps): () => Promise<Person> {
  const { id, serial } = svid;
  const node = nodeOf(id.slice(id.lastIndexOf('/') + 1));
  deps.revocations.ensureGood({ id, serial, node }, 'revoked_peer');
  return () => personOf(svid, deps);
}

/** The person of a good certificate with the mark of an operator. Throws operator_role, revoked_peer. */
export async function personOf(
  svid: Pick<VerifiedSvid, 'id' | 'serial' | 'certificate'>,
  { store, revocations }: SessionDeps,
): Promise<Person> {
  const { id, serial } = svid;
  const record = await store.issuance(serial);
  ensure(isRecorded(svid, record), 'operator_role', `certificate ${serial} of ${id} is not on record`);
  const state = await store.nodeState(record);
  const kept = state === undefined ? undefined : (JSON.parse(state) as Kept);
  const session = kept?.sessions.find(({ key }) => key === hex(record.keySha256));
  ensure(
    kept !== undefined && session !== undefined,
    'operator_role',
    `the CA knows no sign-in for certificate ${serial} of ${nodeName(record)}: chancery-ca login`,
  );
  // Last, since a revocation may come while the store is asked.
  const { platform, node } = record;
  const peer = { id, serial, node: { platform, node } };
  revocations.ensureGood(peer, 'revoked_peer');
  const { role, servers, called, authTime } = session;
  return { id, peer, by: byOf({ ...kept, called }), role, servers, authTime: new Date(authTime * 1000) };
}
