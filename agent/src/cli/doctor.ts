/**
 * `doctor`: shows why an agent does not join: what this machine could prove, and whether the CA can be reached. It also
 * shows which MCP servers the clients of this user reach without the gateway.
 */
import { existsSync } from 'node:fs';
import net from 'node:net';
import { type Command, type Io, JSON_FLAG, twoColumns, wrapped } from '@chancery/shared/cli/program.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { NETWORK_SENTENCES } from '@chancery/shared/text/network-sentence.ts';
import { readAgentConfig } from '../config/read.ts';
import { type AgentSettings, paths } from '../config/schema.ts';
import { readStatus } from '../workload/attach.ts';
import { homeOf } from './clients/clients.ts';
import type { ClientEntry } from './clients/entries.ts';
import type { Surveyed } from './clients/survey.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';
import type { RunCommandDeps } from './run.ts';
import type { Self } from './self.ts';

export interface DoctorDeps extends RunCommandDeps {
  readonly self: () => Self;
}

interface Seen {
  readonly name: string;
  readonly good: boolean;
  readonly says: string;
}

/** Changes nothing. Looks for platforms for at most 2 s, and asks the CA for at most 10 s. */
export const doctor = (deps: DoctorDeps): Command => ({
  says: [
    'Reports what this machine can prove, whether the CA answers, and what is wrong with the agent that runs.',
    'Lists the MCP servers in configs of MCP clients that bypass the gateway, and the keys that are written out there.',
    'Exits 1 if the agent cannot join, the running one has a problem, or a config has such a server or key.',
  ].join(' '),
  flags: { ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const file = configFile(invocation);
    const named = invocation.text('config') !== undefined || existsSync(file);
    const settings = named ? readAgentConfig(file) : undefined;
    const { detectAll } = await import('../evidence/index.ts');
    const { firstUsable } = await import('../evidence/auto.ts');
    const tried = await detectAll({ clock: deps.clock, env: io.env }, io.signal);
    const found = tried.map(({ platform, usable, says }) => ({ name: platform, good: usable, says }));
    const platforms = settings === undefined ? found : await withSocket(found, settings);
    const auto = firstUsable(tried)?.platform;
    const chosen = settings?.evidence === undefined ? auto : Object.keys(settings.evidence).join(' and ');
    const ca = settings && (await seenOf(settings, deps.clock));
    const agent = settings && (await runningAgent(settings));
    const clients = await clientsHere(deps, io.env, settings);
    const isWell = clients.every(({ problem, servers }) => problem === null && servers.every(isGood));
    const good = chosen !== undefined && (ca?.good ?? true) && (agent?.good ?? true) && isWell;
    const report = {
      config: named ? file : null,
      platforms,
      auto: auto ?? null,
      chosen: chosen ?? null,
      ca: ca ?? null,
      agent: agent ?? null,
      clients,
    };
    if (invocation.has('json')) io.out(`${JSON.stringify({ ...report, good }, null, 2)}\n`);
    else io.out(textOf(report, settings, io.columns));
    return good ? 0 : 1;
  },
});

/** The CA's socket cannot be detected: only a config names it. */
async function withSocket(found: readonly Seen[], { evidence, ca }: AgentSettings): Promise<readonly Seen[]> {
  const { socket } = ca;
  if (evidence?.unix === undefined || socket === undefined) return found;
  const error = await connected(socket);
  const refused = error === undefined ? undefined : (NETWORK_SENTENCES[error.code ?? ''] ?? error.message);
  const says =
    refused === undefined
      ? `the CA's socket ${socket} answers`
      : `no CA at the socket ${socket}: ${refused}. Start the CA, or mend ca.socket`;
  return found.map((each) => (each.name === 'unix' ? { ...each, good: refused === undefined, says } : each));
}

/** The error, if the socket cannot be connected. */
function connected(path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', resolve);
  });
}

/** The CA at its address, verified as an agent verifies it. */
async function seenOf(settings: AgentSettings, clock: Clock): Promise<Seen> {
  const name = settings.ca.address;
  const { checkCa } = await import('../trust/check-ca.ts');
  try {
    const authorities = await checkCa(settings, clock);
    return { name, good: true, says: `answers and is verified (${authorities} in its bundle)` };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { name, good: false, says: error.message };
  }
}

/** The status of the agent that runs here; undefined if none runs. */
async function runningAgent({ dataDir }: AgentSettings): Promise<Seen | undefined> {
  const { socket } = paths(dataDir);
  try {
    const { spiffeId, problems } = await readStatus(socket);
    const says = problems.length === 0 ? `${spiffeId ?? 'an agent'}, no problems` : problems.join('; ');
    return { name: socket, good: problems.length === 0, says };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error.code === 'unavailable' ? undefined : { name: socket, good: false, says: error.message };
  }
}

/** The configs of MCP clients, of this user and of the current folder. */
async function clientsHere(
  { platform, self }: DoctorDeps,
  env: Io['env'],
  settings: AgentSettings | undefined,
): Promise<readonly Surveyed[]> {
  const { survey } = await import('./clients/survey.ts');
  const listens = (settings?.connect ?? []).map(({ listen }) => /^127\.0\.0\.1:(\d+)$/.exec(listen)?.[1]);
  const ports = new Set(listens.flatMap((port) => (port === undefined ? [] : [Number(port)])));
  return survey(homeOf(env, platform), '.', { programs: new Set(self().slice(-1)), ports });
}

const isGood = ({ guarded, keys }: ClientEntry): boolean => guarded && keys.length === 0;

/** A row for each server, or for a file that cannot be read. */
function rowsOf({ client, file, problem, servers }: Surveyed): readonly Seen[] {
  if (problem !== null) return [{ name: client, good: false, says: problem }];
  return servers.map((each) => {
    const where = each.project === null ? file : `${file}, ${each.project}`;
    const how = each.guarded ? 'through connect' : `bypasses the gateway: ${each.to}`;
    const keys = each.keys.length === 0 ? '' : `; keys are written out in ${each.keys.join(', ')}`;
    return { name: each.server, good: isGood(each), says: `${how}${keys} (${client}, ${where})` };
  });
}

interface Report {
  readonly config: string | null;
  readonly platforms: readonly Seen[];
  readonly auto: string | null;
  readonly chosen: string | null;
  readonly ca: Seen | null;
  readonly agent: Seen | null;
  readonly clients: readonly Surveyed[];
}

function textOf(
  { config, platforms, auto, chosen, ca, agent, clients }: Report,
  settings: AgentSettings | undefined,
  width: number | undefined,
): string {
  const lines = (seen: readonly Seen[]): string => {
    const rows = seen.map(({ name, good, says }) => [`${good ? 'yes' : 'no '}  ${name}`, says] as const);
    return twoColumns(rows, width);
  };
  const text = (says: string): string => wrapped(says, width ?? Number.POSITIVE_INFINITY).join('\n');
  const by = settings?.evidence === undefined ? 'platform: auto' : `${config}`;
  return [
    'platforms',
    lines(platforms),
    text(chosen === null ? 'no platform is usable; set one under `evidence`' : `${by} would prove ${chosen}`),
    ...(settings?.evidence !== undefined && auto !== null
      ? [text(`platform: auto would prove ${auto}`)]
      : []),
    ...(ca === null ? ['no config file; the CA was not checked'] : ['CA', lines([ca])]),
    ...(ca === null ? [] : agent === null ? ['no agent runs here'] : ['agent', lines([agent])]),
    ...clientLines(clients.flatMap(rowsOf), lines, text),
    '',
  ].join('\n');
}

const ADVICE = [
  '`chancery-agent mcp config NAME --write` puts a server behind the gateway into the config of a client.',
  'A key that is written out: remove it there, and revoke it where it was made.',
].join(' ');

function clientLines(
  rows: readonly Seen[],
  lines: (seen: readonly Seen[]) => string,
  text: (says: string) => string,
): readonly string[] {
  if (rows.length === 0) return [];
  return ['MCP clients', lines(rows), ...(rows.every(({ good }) => good) ? [] : [text(ADVICE)])];
}
