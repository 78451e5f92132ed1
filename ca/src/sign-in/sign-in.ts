/**
 * An ID token and a key become an operator's certificate. Proves that the issuer has authenticated the person for this
 * key. It does not prove on which machine the key is, nor that the person who approved a device code is the one who
 * asked for it.
 */
import { hash } from 'node:crypto';
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Json } from '@chancery/shared/ground/json.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { type IssueDeps, type IssuedSvid, issue } from '../authority/issue.ts';
import type { AuditIntake, TokenStore } from '../store/store.ts';
import type { Claims } from '../tokens/claims.ts';
import type { KeySet } from '../tokens/jwks.ts';
import { verifyToken } from '../tokens/jwt.ts';
import { nonceFor } from './binding.ts';
import type { OperatorsConfig } from './config.ts';
import { byOf, type Given, givenBy, namedBy, nameOf, operatorId } from './person.ts';
import { nodeOf, remember, type SessionDeps } from './sessions.ts';

export interface SignInDeps extends IssueDeps, SessionDeps {
  readonly store: IssueDeps['store'] & SessionDeps['store'] & TokenStore & Pick<AuditIntake, 'append'>;
  readonly trustDomain: TrustDomain;
  readonly config: OperatorsConfig;
  readonly keys: KeySet;
}

export interface SignedIn extends Given, IssuedSvid {
  readonly id: string;
  /** As the audit log names them. */
  readonly by: string;
  /** The authorities of the trust domain, X.509 DER. */
  readonly bundle: readonly Uint8Array[];
  readonly authTime: Date;
}

/** A certificate lives at most so long, and never beyond `MAX_SECONDS` after the person showed who they are. */
const TTL_SECONDS = 3600;
const MAX_SECONDS = 12 * 3600;
/** Issuers give ID tokens lives of minutes to a day; this is what counts here. */
const TOKEN_SECONDS = 600;
const MAX_LIFETIME_SECONDS = 86_400;
const SKEW_SECONDS = 30;
const AFTER_SECONDS = 60;

/**
 * Throws csr_*, jwt_*, issuer_unknown, keys_unavailable, jti_replay for a token that was used, claim_rule,
 * operator_role, revoked_identity, and what `issue` throws.
 */
export async function signIn(
  { idToken, csr }: { readonly idToken: string; readonly csr: Uint8Array },
  deps: SignInDeps,
): Promise<SignedIn> {
  const { clock, config, keys, store, trustDomain } = deps;
  const key = verifyCsr(csr);
  const { issuer, clientId, algorithms } = config;
  const rules = { issuer, audience: clientId, algorithms, keys, maxLifetimeSeconds: MAX_LIFETIME_SECONDS };
  const claims = await verifyToken(utf8(idToken), rules, clock.now());
  const authTime = checkedTime(claims, { clientId, nonce: nonceFor(trustDomain, key.spki) }, clock.now());
  const person = namedBy(issuer, claims);
  const by = byOf(person);
  const given = givenBy(claims, config.roles, by);
  const name = nameOf(person);
  const [id, node] = [operatorId(trustDomain, name), nodeOf(name)];
  await useOnce(idToken, addSeconds(claims.expiresAt, AFTER_SECONDS), deps);
  const notBeyond = addSeconds(authTime, MAX_SECONDS);
  const until = Math.min(clock.now().getTime() / 1000 + TTL_SECONDS, notBeyond.getTime() / 1000);
  const { iss, sub, called } = person;
  const authSeconds = authTime.getTime() / 1000;
  const digest = hex(key.sha256);
  await remember(
    { iss, sub, name },
    { key: digest, called, authTime: authSeconds, until: Math.ceil(until), ...given },
    deps,
  );
  await store.append({
    type: 'operator.signedIn',
    id,
    by,
    ...given,
    authTime: authTime.toISOString(),
    key: digest,
  });
  // Checked last: a revocation is either seen here, or sees the record.
  deps.revocations.ensureGood({ id, serial: undefined, node }, 'revoked_identity');
  const order = { id, ...node, identity: 'operators', key, ttlSeconds: TTL_SECONDS, notBeyond, dnsNames: [] };
  const issued = await issue({ ...order, role: 'operator' }, deps);
  const { authorities: bundle } = deps.authorities.bundle.current();
  return { ...issued, ...given, id, by, bundle, authTime };
}

/** When the person showed the issuer who they are. Throws claim_rule, jwt_time. */
function checkedTime(
  claims: Claims,
  { clientId, nonce }: { readonly clientId: string; readonly nonce: string },
  now: Date,
): Date {
  const azp = claims.find('azp') ?? clientId;
  ensure(azp === clientId, 'claim_rule', `azp is ${said(azp)}, expected ${clientId}`);
  const found = claims.find('nonce');
  const why = found === undefined ? 'missing: the issuer leaves it out for this way to sign in' : said(found);
  ensure(found === nonce, 'claim_rule', `nonce is ${why}, expected the digest of the key`);
  const age = (now.getTime() - claims.issuedAt.getTime()) / 1000;
  ensure(
    age <= TOKEN_SECONDS,
    'jwt_time',
    `the token was issued ${Math.round(age)} s ago, at most ${TOKEN_SECONDS} s`,
  );
  const seconds = claims.find('auth_time');
  const good = typeof seconds === 'number' && Number.isInteger(seconds) && seconds > 0;
  ensure(good, 'claim_rule', `auth_time is ${said(seconds)}, expected seconds since 1970`);
  const authTime = new Date(seconds * 1000);
  ensure(
    authTime <= addSeconds(now, SKEW_SECONDS),
    'jwt_time',
    `auth_time is ${said(seconds)}, in the future`,
  );
  const isRecent = addSeconds(authTime, MAX_SECONDS) > now;
  ensure(isRecent, 'jwt_time', `the person signed in more than ${MAX_SECONDS / 3600} h ago: sign in again`);
  return authTime;
}

/** Whatever key it comes with. The signature is left out of the name: of one token there may be several. */
async function useOnce(token: string, until: Date, { store, random }: SignInDeps): Promise<void> {
  const id = hash('sha256', token.slice(0, token.lastIndexOf('.')), 'hex');
  await store.bind({ platform: 'operator', id }, random(32), until);
}

const said = (value: Json | undefined): string =>
  value === undefined ? 'missing' : JSON.stringify(value).slice(0, 200);
