/**
 * The user and group that a `command` server runs as. A server with the agent's user can read the agent's state and its
 * socket, so a config for root must name a user. Only root can name another one: a process with CAP_SETUID alone would
 * pass its capabilities on.
 */
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';

export interface Account {
  readonly uid: number;
  readonly gid: number;
  /** From the user database; undefined for a bare number. */
  readonly name: string | undefined;
  readonly home: string | undefined;
}

export interface Wanted {
  readonly user?: string | undefined;
  readonly group?: string | undefined;
}

/** `files` are the texts of /etc/passwd and /etc/group. */
export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

/** Undefined for the agent's own user. Throws config. */
export function accountFor(
  { user, group }: Wanted,
  ownUid: number,
  files: () => AccountFiles,
): Account | undefined {
  if (user === undefined) {
    ensure(
      ownUid !== 0,
      'config',
      'gateway.upstream: the agent runs as root, so set `user` to run the command as (`user: root` if it must be root)',
    );
    ensure(group === undefined, 'config', 'gateway.upstream.group: set `user`, too');
    return undefined;
  }
  const { passwd, group: groups } = files();
  const known = entry(passwd, user, 'gateway.upstream.user');
  const ownGroup = group ?? known.fields?.[3];
  ensure(ownGroup !== undefined, 'config', `gateway.upstream.group: missing (${user} is not in /etc/passwd)`);
  const { id: gid } = entry(groups, ownGroup, 'gateway.upstream.group');
  const { id: uid, fields } = known;
  if (uid === ownUid && group === undefined) return undefined;
  ensure(
    ownUid === 0,
    'config',
    `gateway.upstream.user: the agent runs as uid ${ownUid} and cannot run the command as ${user}; only root can`,
  );
  return { uid, gid, name: fields?.[0], home: fields?.[5] };
}

/** passwd(5) and group(5): the name is the first field, the number the third. */
function entry(
  text: string,
  wanted: string,
  key: string,
): { id: number; fields: readonly string[] | undefined } {
  const isId = /^[0-9]{1,10}$/.test(wanted);
  const fields = text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name, , id]) => (isId ? Number(id) === Number(wanted) : name === wanted) && name !== '');
  const id = isId ? Number(wanted) : Number(fields?.[2] ?? Number.NaN);
  if (!Number.isInteger(id) || id >= 2 ** 32 - 1)
    throw new IdentityError('config', `${key}: ${wanted} does not exist on this machine`);
  return { id, fields };
}

/** The server's environment. For another user, with that user's HOME and USER. */
export function environmentFor(
  account: Account | undefined,
  env: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (account === undefined) return env;
  const { HOME: _home, USER: _user, SHELL: _shell, TMPDIR: _tmp, ...rest } = env;
  return {
    ...rest,
    ...(account.home === undefined ? {} : { HOME: account.home }),
    ...(account.name === undefined ? {} : { USER: account.name }),
  };
}
