/** Takes a JWT key away that is stolen: no token that it signed is good any more, and another key signs. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { TaintDeps, TaintOrder, TaintReport } from '../rotation/taint.ts';
import { maySign } from '../store/authority-states.ts';
import type { AuthorityMove, ChangedRevocation, StoredJwtKey } from '../store/store.ts';
import { type JwtKeyDeps, jwtKeyName, makeJwtKey } from './keys.ts';
import { jwtPublishMoves } from './stage.ts';

/** Some of what `taint` of an authority takes. */
type JwtTaintDeps = JwtKeyDeps &
  Pick<TaintDeps, 'revocations' | 'authorities'> & {
    readonly agents: Pick<TaintDeps['agents'], 'list'>;
  };

/**
 * It leaves the bundle and the key set in the transition that lets another one sign. Nothing is waited for: a verifier
 * that does not know the other key yet refuses its tokens for a moment. Throws rotation, store, and what the home of
 * the keys throws.
 */
export async function taintJwtKey(
  key: StoredJwtKey,
  { reason, dryRun }: TaintOrder,
  by: string,
  deps: JwtTaintDeps,
): Promise<TaintReport> {
  const { serial, taintedAt } = key;
  const says = `JWT key ${serial} is tainted already, since ${taintedAt?.toISOString()}`;
  ensure(taintedAt === undefined, 'rotation', says);
  const { jwtKeys } = await deps.store.allAuthorities();
  const none = { root: undefined, refused: [], byHand: [], above: [], revocation: undefined };
  const report = { ...none, authority: key, agents: deps.agents.list().length };
  if (dryRun) return { ...report, jwtKey: nextKey(jwtKeys, key) };
  if (nextKey(jwtKeys, key) === undefined) await publishAnother(by, deps);
  const now = (await deps.store.allAuthorities()).jwtKeys;
  const found = now.find((each) => each.serial === serial);
  const signs = nextKey(now, key);
  ensure(found !== undefined && signs !== undefined, 'rotation', FASTER);
  const moves = taintMoves(found, signs);
  const draft = {
    target: { kind: 'authority', value: jwtKeyName(key) },
    reason: 'keyCompromise',
    by,
    until: undefined,
  } as const;
  const event = { type: 'jwtKey.tainted', serial, moves, reason, by } as const;
  const write = async (): Promise<ChangedRevocation> => {
    const changed = await deps.store.taintJwtKey({ authority: serial, moves, draft }, event);
    ensure(changed !== undefined, 'rotation', FASTER);
    return changed;
  };
  const { revocation } = await deps.revocations.change(write, () => deps.authorities.refresh());
  return { ...report, jwtKey: signs, revocation };
}

/** What signs after it: the key that signs, or one that is in the bundle already; undefined if one has to be made. */
function nextKey(keys: readonly StoredJwtKey[], stolen: StoredJwtKey): StoredJwtKey | undefined {
  const others = keys.filter(({ serial }) => serial !== stolen.serial);
  return (
    others.find(maySign) ??
    others.find(({ state }) => state === 'retiring') ??
    others.find(({ state }) => state === 'published')
  );
}

const taintMoves = (stolen: StoredJwtKey, signs: StoredJwtKey): readonly AuthorityMove[] => [
  ...(stolen.state === 'removed' ? [] : [moveTo(stolen, 'removed')]),
  ...(maySign(signs) ? [] : [moveTo(signs, 'active')]),
];

const moveTo = ({ serial, state }: StoredJwtKey, to: AuthorityMove['to']): AuthorityMove => ({
  serial,
  from: state,
  to,
});

/** First in the bundle, beside the stolen one, so that no bundle gains a key and loses another. */
async function publishAnother(by: string, deps: JwtTaintDeps): Promise<void> {
  const prepared = (await deps.store.allAuthorities()).jwtKeys.find(({ state }) => state === 'prepared');
  const serial = prepared?.serial ?? (await makeJwtKey('prepared', deps));
  const { jwtKeys } = await deps.store.allAuthorities();
  const moves = jwtPublishMoves(jwtKeys, serial);
  // Where another process was faster, its key is there when the caller looks again.
  await deps.store.moveJwtKeys(moves, { type: 'jwtKey.moved', moves, by });
  await deps.authorities.refresh();
}

const FASTER = 'the JWT keys changed meanwhile: chancery-ca authorities, then try again';
