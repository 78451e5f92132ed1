/** `mcp config`: prints or writes the entry for an MCP client, of one server or of all. */
import { resolve } from 'node:path';
import { type ExitStatus, type Invocation, type Io, MisuseError } from '@chancery/shared/cli/program.ts';
import { CLIENTS, homeOf, isClient, type McpClient } from '../clients/clients.ts';
import { configFile, ensureServerName } from '../flags.ts';
import type { McpCommandDeps } from './deps.ts';

/** The entry for all servers of the identity. */
const ALL = 'chancery';

/** Without --write it prints, and reads no file. */
export async function config(invocation: Invocation, deps: McpCommandDeps, io: Io): Promise<ExitStatus> {
  const [server, ...more] = invocation.positionals.slice(1);
  if (more.length > 0) throw new MisuseError('expected: mcp config [NAME]');
  if (server !== undefined) ensureServerName(server);
  const name = server ?? ALL;
  const clientName = invocation.text('client') ?? 'claude';
  if (!isClient(clientName)) throw new MisuseError(`--client is one of ${Object.keys(CLIENTS).join(', ')}`);
  const client = CLIENTS[clientName];
  const [command, ...program] = deps.self();
  const args = [
    ...program,
    'connect',
    ...(server === undefined ? [] : [server]),
    '--config',
    resolve(configFile(invocation)),
  ];
  const value = client.entry({ command, args });
  if (invocation.has('write')) return write({ client, name, value }, deps, invocation, io);
  if (invocation.has('dry-run')) throw new MisuseError('--dry-run is for --write');
  io.out(`${JSON.stringify({ [client.servers]: { [name]: value } }, null, 2)}\n`);
  return 0;
}

interface Wanted {
  readonly client: McpClient;
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>>;
}

async function write(
  { client, name, value }: Wanted,
  { clock, platform, ownUid: uid }: McpCommandDeps,
  invocation: Invocation,
  io: Io,
): Promise<ExitStatus> {
  const home = homeOf(io.env, platform);
  if (home === undefined) throw new MisuseError('--write: HOME does not say where the home folder is');
  const path = client.file(home);
  const { changeOf, differenceOf, writeChange } = await import('../clients/client-file.ts');
  const change = changeOf(path, { servers: client.servers, name, value }, { ...client, uid });
  const isDry = invocation.has('dry-run');
  const backup = change === undefined || isDry ? undefined : writeChange(change, clock.now());
  if (invocation.has('json')) {
    const says = { file: change?.file ?? path, changed: change !== undefined && !isDry };
    io.out(
      `${JSON.stringify({ ...says, replaces: change?.replaces ?? false, backup: backup ?? null }, null, 2)}\n`,
    );
    return 0;
  }
  if (change === undefined) io.out(`${path} has this entry already\n`);
  else if (isDry) io.out(differenceOf(change));
  else io.out(saysDone(change.file, { client, name, replaces: change.replaces, backup }));
  return 0;
}

interface Done extends Pick<Wanted, 'client' | 'name'> {
  readonly replaces: boolean;
  readonly backup: string | undefined;
}

function saysDone(file: string, { client, name, replaces, backup }: Done): string {
  return [
    `${file}: ${name} is ${replaces ? 'replaced' : 'added'}; start ${client.called} anew`,
    ...(backup === undefined ? [] : [`the file as it was: ${backup}`]),
    '',
  ].join('\n');
}
