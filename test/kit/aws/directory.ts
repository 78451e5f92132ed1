/** The accounts, principals and access keys of an AWS that is not there; STS, IMDS and Organizations look here. */
import { randomBytes } from 'node:crypto';
import { type Issuer, makeIssuer } from './issuer.ts';

export interface Account {
  readonly id: string;
  readonly partition: string;
  readonly organization: { readonly id: string; readonly path: readonly string[] } | undefined;
  /** Undefined if outbound web identity federation is not enabled. */
  readonly issuer: Issuer | undefined;
}

export interface Principal {
  readonly account: Account;
  /** As GetCallerIdentity tells them. */
  readonly arn: string;
  readonly userId: string;
  /** As a web identity token's `sub` tells it. */
  readonly subject: string;
  readonly tags: Readonly<Record<string, string>>;
  /** IAM actions that an explicit or implicit deny keeps it from. */
  readonly denied: readonly string[];
  /** What STS knows of the session besides, under the names of the token's claims. */
  readonly session: Readonly<Record<string, unknown>>;
}

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Only temporary credentials have one. */
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const unique = (prefix: string, length: number): string =>
  prefix + [...randomBytes(length)].map((byte) => BASE32[byte % BASE32.length]).join('');

export class Directory {
  readonly #accounts = new Map<string, Account>();
  readonly #roles = new Map<string, string>();
  readonly #keys = new Map<string, { key: AccessKey; principal: Principal }>();

  account(id: string, given: Partial<Omit<Account, 'id'>> & { issuerUrl?: string } = {}): Account {
    const { partition = 'aws', organization, issuerUrl } = given;
    const issuer = given.issuer ?? (issuerUrl === undefined ? undefined : makeIssuer(issuerUrl));
    const account = { id, partition, organization, issuer };
    this.#accounts.set(id, account);
    return account;
  }

  find(accountId: string): Account | undefined {
    return this.#accounts.get(accountId);
  }

  accounts(): readonly Account[] {
    return [...this.#accounts.values()];
  }

  lookUp(accessKeyId: string): { key: AccessKey; principal: Principal } | undefined {
    return this.#keys.get(accessKeyId);
  }

  /** `role` may have a path, as IAM writes it: "team/web". The same role has the same id each time. */
  assumeRole(
    account: Account,
    role: string,
    session = 'i-0123456789abcdef0',
    given: { until?: Date; tags?: Principal['tags']; denied?: readonly string[]; session?: object } = {},
  ): AccessKey {
    const name = role.slice(role.lastIndexOf('/') + 1);
    const roleId = this.#roleId(account, role);
    const until = given.until ?? new Date(Date.now() + 3600_000);
    const principal: Principal = {
      account,
      arn: `arn:${account.partition}:sts::${account.id}:assumed-role/${name}/${session}`,
      userId: `${roleId}:${session}`,
      subject: `arn:${account.partition}:iam::${account.id}:role/${role}`,
      tags: given.tags ?? {},
      denied: given.denied ?? [],
      session: { original_session_exp: until.toISOString(), ...given.session },
    };
    return this.#issueKey(principal, { sessionToken: unique('IQoJb3JpZ2lu', 300), expiration: until });
  }

  user(account: Account, name: string): AccessKey {
    const arn = `arn:${account.partition}:iam::${account.id}:user/${name}`;
    return this.#issueKey({ ...plain(account, arn), userId: unique('AIDA', 17) });
  }

  root(account: Account): AccessKey {
    const arn = `arn:${account.partition}:iam::${account.id}:root`;
    return this.#issueKey({ ...plain(account, arn), userId: account.id });
  }

  federatedUser(account: Account, name: string): AccessKey {
    const arn = `arn:${account.partition}:sts::${account.id}:federated-user/${name}`;
    const principal = { ...plain(account, arn), userId: `${account.id}:${name}` };
    const expiration = new Date(Date.now() + 3600_000);
    return this.#issueKey(principal, { sessionToken: unique('FwoGZXIv', 200), expiration });
  }

  #roleId(account: Account, role: string): string {
    const key = `${account.id}/${role}`;
    const known = this.#roles.get(key) ?? unique('AROA', 17);
    this.#roles.set(key, known);
    return known;
  }

  #issueKey(
    principal: Principal,
    temporary?: Pick<Required<AccessKey>, 'sessionToken' | 'expiration'>,
  ): AccessKey {
    const accessKeyId = unique(temporary === undefined ? 'AKIA' : 'ASIA', 16);
    const secretAccessKey = randomBytes(30).toString('base64');
    const key = { accessKeyId, secretAccessKey, ...temporary };
    this.#keys.set(accessKeyId, { key, principal });
    return key;
  }
}

const plain = (account: Account, arn: string) => ({
  account,
  arn,
  subject: arn,
  tags: {},
  denied: [],
  session: {},
});
