/** What happens when the key of an authority is stolen: a verdict about the records, and pure. */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { toRevokeAbove } from '../authority/above.ts';
import { isTainted, isUnder, keyIdOf, keyNameOf, rootOf } from '../authority/records.ts';
import { isStandby, keepsKey, maySign } from '../store/authority-states.ts';
import type { AuthorityMove, AuthorityRecord, StoredAuthority, StoredJwtKey } from '../store/store.ts';
import { removeMoves } from './stage.ts';
import type { Held } from './status.ts';

/** An authority with its names, and the unexpired certificates under it. */
export interface ListedAuthority {
  readonly authority: StoredAuthority | StoredJwtKey;
  readonly held: readonly Held[];
  /** Subject key identifier, or the `kid` of a JWT key; and the SHA-256 of the key, hexadecimal. */
  readonly keyId: string;
  readonly keySha256: string;
  /** Of a tainted root that a CA above has certified: what that CA must revoke, as a sentence. Empty for others. */
  readonly toRevokeAbove: string;
}

/** With its names. */
export const listed = (authority: Named, held: readonly Held[]): ListedAuthority =>
  authority.kind === 'jwt'
    ? { authority, held, ...namesOfJwt(authority), toRevokeAbove: '' }
    : { authority, held, ...namesOfCertified(authority), toRevokeAbove: toRevoke(authority) };

const namesOfJwt = ({ serial, spki }: StoredJwtKey) => ({
  keyId: serial,
  keySha256: hash('sha256', spki, 'hex'),
});

const namesOfCertified = (authority: StoredAuthority) => ({
  keyId: hex(keyIdOf(authority.certificate)),
  keySha256: keyNameOf(authority),
});

const toRevoke = (authority: StoredAuthority): string =>
  isTainted(authority) ? toRevokeAbove(authority).join('; ') : '';

type Named = StoredAuthority | StoredJwtKey;

export interface TaintPlan {
  readonly authority: StoredAuthority;
  /** The root that signs after it; undefined if agents trust no other: one has to be made. */
  readonly root: StoredAuthority | undefined;
  /** Whether what issues now goes, so that another intermediate has to be made. */
  readonly needsIntermediate: boolean;
}

const DIGITS = /^[0-9a-f]{4,64}$/;

/**
 * The only authority that the operator can mean: by its serial, its subject key identifier or the SHA-256 of its key,
 * or by 4 digits or more that one of these begins with. Throws rotation.
 */
export function namedAuthority<T extends Named>(records: readonly T[], text: string): T {
  const digits = text.replaceAll(':', '').toLowerCase();
  const says = `"${text}" is not a serial, a key identifier or the SHA-256 of a key, nor 4 or more digits of one`;
  ensure(DIGITS.test(digits), 'rotation', `${says}: chancery-ca authorities`);
  const found = records.filter((each) => namesOf(each).some((name) => name.startsWith(digits)));
  ensure(
    found.length > 0,
    'rotation',
    `no authority of this CA begins with ${text}: chancery-ca authorities`,
  );
  const [only] = found;
  const many = found.map(({ kind, serial }) => `\n  ${kind} ${serial}`).join('');
  ensure(only !== undefined && found.length === 1, 'rotation', `${text} is more than one authority:${many}`);
  return only;
}

function namesOf(each: Named): readonly string[] {
  const { keyId, keySha256 } = listed(each, []);
  return [each.serial, keyId, keySha256];
}

/** Throws rotation where it is tainted already. */
export function planOf(
  records: readonly StoredAuthority[],
  authority: StoredAuthority,
  now: Date,
): TaintPlan {
  const { kind, serial, taintedAt } = authority;
  const since = taintedAt?.toISOString();
  ensure(!isTainted(authority), 'rotation', `${kind} ${serial} is tainted already, since ${since}`);
  const active = rootOf(records);
  const goes = goingWith(records, authority).map((each) => each.serial);
  const issuer = records.find((each) => each.kind === 'intermediate' && maySign(each));
  const needsIntermediate = issuer === undefined || goes.includes(issuer.serial);
  const root = active.serial === serial ? successorOf(records, authority, now) : active;
  return { authority, root, needsIntermediate };
}

/** The authority, and what is under it: those that are not removed yet. */
const goingWith = (
  records: readonly StoredAuthority[],
  authority: StoredAuthority,
): readonly StoredAuthority[] =>
  records.filter((each) => keepsKey(each) && (each === authority || isUnder(each, authority)));

/**
 * Which root signs instead: one that agents trust already. First choice: a standby root, which is in every bundle, and
 * whose key was elsewhere. Then a root that retires, and then the published one, which some agents may lack.
 */
function successorOf(
  records: readonly StoredAuthority[],
  stolen: StoredAuthority,
  now: Date,
): StoredAuthority | undefined {
  const others = records.filter(
    (each) => each.kind === 'root' && each.serial !== stolen.serial && now < each.notAfter,
  );
  return (
    others.find((each) => isStandby(each) && each.state === 'published') ??
    others.find(({ state }) => state === 'retiring') ??
    others.find((each) => each.state === 'published' && !isStandby(each))
  );
}

/** What is stolen goes with all under it, and what signs instead does so at the same moment. */
export function taintMoves(
  records: readonly StoredAuthority[],
  { authority, root }: TaintPlan,
  intermediate: AuthorityRecord | undefined,
): readonly AuthorityMove[] {
  const all = authority.kind === 'root' ? removeMoves(records, authority) : [moveTo(authority, 'removed')];
  const stolen = all.filter(({ from }) => from !== 'removed');
  return [
    ...stolen,
    ...(root === undefined || maySign(root) ? [] : [moveTo(root, 'active')]),
    // Under the root that was stolen nothing is left that signs; under another one may be.
    ...(intermediate === undefined ? [] : [...stillSigning(records, stolen), moveTo(intermediate, 'active')]),
  ];
}

const stillSigning = (
  records: readonly StoredAuthority[],
  gone: readonly AuthorityMove[],
): readonly AuthorityMove[] =>
  records
    .filter((each) => each.kind === 'intermediate' && maySign(each))
    .filter((each) => gone.every(({ serial }) => serial !== each.serial))
    .map((each) => moveTo(each, 'retiring'));

const moveTo = ({ serial, state }: AuthorityRecord, to: AuthorityMove['to']): AuthorityMove => ({
  serial,
  from: state,
  to,
});
