/** Claims to a person: who it is, and which role the config gives. */
import { hash } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import type { Role } from '../operator/roles.ts';
import type { Claims } from '../tokens/claims.ts';
import type { OperatorsConfig } from './config.ts';

/** A person of an issuer. */
export interface Named {
  readonly iss: string;
  readonly sub: string;
  /** What the issuer calls them; decides nothing. */
  readonly called: string;
}

export interface Given {
  readonly role: Role;
  readonly servers: readonly string[];
}

/** OpenID Connect Core 1.0, section 2: at most 255 ASCII characters. */
const SUBJECT = /^[\x21-\x7e]{1,255}$/;
const MAX_CALLED = 64;
const DIGEST_CHARACTERS = 32;

/** Throws claim_rule. */
export function namedBy(iss: string, claims: Claims): Named {
  const sub = claims.subject;
  ensure(SUBJECT.test(sub), 'claim_rule', 'sub has more than 255 characters, or others than visible ASCII');
  const [called] = [claims.find('preferred_username'), claims.find('name')].filter(
    (each) => typeof each === 'string' && each !== '',
  );
  return { iss, sub, called: typeof called === 'string' ? called.slice(0, MAX_CALLED) : '' };
}

/** How the audit log names them: issuer and subject are the truth; the name is quoted, since people may choose it. */
export const byOf = ({ iss, sub, called }: Named): string =>
  printable(`${sub} of ${iss}${called === '' ? '' : ` (called ${JSON.stringify(called)})`}`);

/** The last segment of the SPIFFE ID: a digest, so that two issuers and odd characters cannot meet in one name. */
export const nameOf = ({ iss, sub }: Pick<Named, 'iss' | 'sub'>): string =>
  hash('sha256', JSON.stringify([iss, sub]), 'hex').slice(0, DIGEST_CHARACTERS);

/** The name that only a sign-in gives. */
export const operatorId = (trustDomain: TrustDomain, name: string): SpiffeId =>
  parseSpiffeId(`spiffe://${trustDomain}/chancery/operator/${name}`);

/** The most that the rules give: operator, else reader, else owner of all servers together. Throws operator_role. */
export function givenBy(claims: Claims, rules: OperatorsConfig['roles'], by: string): Given {
  const matching = rules.filter(({ claim, values }) => {
    const found = claims.find(...claim);
    const texts = Array.isArray(found) ? found : [found];
    return texts.some((each) => typeof each === 'string' && values.includes(each));
  });
  const role = (['operator', 'reader', 'owner'] as const).find((each) =>
    matching.some((rule) => rule.role === each),
  );
  ensure(role !== undefined, 'operator_role', `no rule of operators.roles gives ${by} a role`);
  const servers = role === 'owner' ? matching.flatMap((rule) => rule.servers ?? []) : [];
  return { role, servers: [...new Set(servers)].toSorted() };
}
