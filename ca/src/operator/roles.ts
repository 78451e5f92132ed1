/** What each verb of the operator needs: who may use it, and how fresh the sign-in must be. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { RevocablePeer } from '@chancery/shared/revocation/revocation-set.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** An operator may do all that a reader may; an owner may do what concerns the servers that it is an owner of. */
const ROLES = ['reader', 'operator', 'owner'] as const;
export type Role = (typeof ROLES)[number];

/** One line of the table. */
export interface Need {
  /** What a person types for it, after `chancery-ca`. */
  readonly command: string;
  readonly role: Exclude<Role, 'owner'>;
  /** Owners may use it as well; the verb itself keeps to their servers. */
  readonly owners?: true;
  /** What a sign-in of at most `FRESH_SECONDS` is needed for: every use that changes something, or some. */
  readonly fresh?: 'always' | 'where it widens access';
  /** Exempt from `twoPeople`. */
  readonly alone?: true;
  /** Of use on the CA's machine alone: refused to everybody but callers on the admin socket. */
  readonly here?: true;
}

/** Every verb by its name: a verb without a line does not compile. */
export const VERBS = {
  acceptLoss: { command: 'accept-loss', role: 'operator', fresh: 'always' },
  agents: { command: 'agents', role: 'reader' },
  apply: { command: 'apply', role: 'operator', owners: true, fresh: 'where it widens access' },
  askAbove: { command: 'authorities request --above', role: 'operator' },
  askForAuthority: { command: 'authorities request', role: 'operator' },
  audit: { command: 'audit query', role: 'reader' },
  auditStatus: { command: 'audit status', role: 'reader' },
  authorities: { command: 'authorities', role: 'reader' },
  authorityRequests: { command: 'authorities', role: 'reader' },
  checkCertificates: { command: 'audit certificates', role: 'reader' },
  copyDatabase: { command: 'backup', role: 'operator', here: true },
  countersign: { command: 'countersign NUMBER', role: 'operator', fresh: 'always', alone: true },
  diff: { command: 'apply --dry-run', role: 'reader', owners: true },
  explain: { command: 'explain', role: 'reader' },
  importAuthority: { command: 'authorities import', role: 'operator', fresh: 'always' },
  issued: { command: 'issued', role: 'reader' },
  jwtRotationStatus: { command: 'rotate jwt status', role: 'reader' },
  lift: { command: 'unrevoke', role: 'operator', fresh: 'always' },
  releaseNode: { command: 'release', role: 'operator', fresh: 'always' },
  requests: { command: 'countersign', role: 'reader' },
  resources: { command: 'get', role: 'reader', owners: true },
  review: { command: 'review', role: 'reader' },
  revocations: { command: 'revocations', role: 'reader' },
  revoke: { command: 'revoke', role: 'operator' },
  rewrapKeys: { command: 'keys rewrap', role: 'operator', here: true },
  rotate: { command: 'rotate', role: 'operator', fresh: 'always' },
  rotateJwt: { command: 'rotate jwt', role: 'operator', fresh: 'always' },
  rotateNext: { command: 'rotate next', role: 'operator', fresh: 'always' },
  rotateRollback: { command: 'rotate rollback', role: 'operator', fresh: 'always' },
  rotationStatus: { command: 'rotate status', role: 'reader' },
  serving: { command: 'check', role: 'operator' },
  signOff: { command: 'review sign-off', role: 'operator' },
  standBy: { command: 'rotate standby', role: 'operator', fresh: 'always' },
  taint: { command: 'taint', role: 'operator', fresh: 'always' },
  withdraw: { command: 'countersign --withdraw', role: 'operator', owners: true },
} as const satisfies Readonly<Record<string, Need>>;

export type VerbName = keyof typeof VERBS;

/** What a person types for a verb; its own name for one of another release. */
export const commandOf = (verb: string): string =>
  Object.entries(VERBS).find(([name]) => name === verb)?.[1].command ?? verb;

/** From `auth_time` (OpenID Connect Core, section 2) to the use of a verb that needs a fresh sign-in. */
const FRESH_SECONDS = 300;
/** How far the issuer's clock may be ahead, as at the sign-in. */
const SKEW_SECONDS = 30;

/** Somebody who has signed in, as the store has it. */
export interface Person {
  /** That of their certificate: one for each person, whatever they are called. */
  readonly id: SpiffeId;
  /** What of them can be revoked: their certificate, and the sign-in that it came by. */
  readonly peer: RevocablePeer;
  /** How the audit log names them: by subject and issuer. */
  readonly by: string;
  readonly role: Role;
  /** Names of the McpServers that an owner is an owner of. */
  readonly servers: readonly string[];
  /** When they last showed the issuer who they are. */
  readonly authTime: Date;
}

/** Throws operator_role. */
export function ensureRole(verb: VerbName, { by, role }: Person): void {
  const need: Need = VERBS[verb];
  const may = role === 'operator' || (role === 'owner' ? need.owners === true : role === need.role);
  ensure(may, 'operator_role', `${by} has the role ${role}, and ${need.command} needs ${need.role}`);
}

/** Throws operator_fresh. */
export function ensureFresh(verb: VerbName, { by, authTime }: Person, now: Date): void {
  const says = `${by} signed in at ${authTime.toISOString()}; ${commandOf(verb)} needs a sign-in of the last 5 minutes`;
  // What is to come was before now until this machine's clock was set back: that is no fresh sign-in.
  const isFresh = addSeconds(authTime, FRESH_SECONDS) >= now && authTime <= addSeconds(now, SKEW_SECONDS);
  ensure(isFresh, 'operator_fresh', `${says}: chancery-ca login --again`);
}
