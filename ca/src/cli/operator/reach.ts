/** `reach`: what an identity may call, and who may call what it serves, by which rules. */
import {
  type Command,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { BLOCKS } from '@chancery/shared/policy/resources/access.ts';
import { inForce as isInForce } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { isSpokenOf, namesIn } from '../../registry/named.ts';
import {
  type Grant,
  type InClear,
  type Reach,
  type ReachQuery,
  reachOf,
  revokesIdentity,
} from '../../registry/reach.ts';
import { GRAPHS, type GraphFormat, graphOf } from '../../registry/reach-graph.ts';
import type { Resource } from '../../registry/resources.ts';
import { FILE_FLAG, setInFiles } from '../files.ts';
import { OPERATOR_FLAGS, printJson, printTable } from '../flags.ts';
import { callOperator } from './admin.ts';
import { inForce } from './in-force.ts';

export const reach: Command = {
  says: 'Shows what an identity may call, who may call what it serves, and by which rules.',
  positionals: '[SPIFFE-ID]',
  flags: {
    server: { type: 'string', value: 'NAME', says: 'Only this McpServer; alone: who may call it.' },
    tool: { type: 'string', value: 'NAME', says: 'Only this tool; alone: who may call it anywhere.' },
    graph: { type: 'string', value: GRAPHS.join('|'), says: 'Prints a graph of callers and servers.' },
    file: {
      ...FILE_FLAG.file,
      says: 'Resources to read, instead of those in force: offline; repeatable.',
    },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const query = queryOf(invocation);
    const graph = formatOf(invocation);
    const offline = invocation.texts('file').length > 0;
    const resources = offline
      ? (await setInFiles(invocation, io)).resources
      : (await inForce(invocation)).resources;
    const found = reachOf(resources, query, new Date());
    const revoked = offline || query.id === undefined ? [] : await revocationsOf(invocation, query.id);
    if (graph !== undefined) io.out(graphOf([...found.calls, ...found.callers], graph));
    else if (invocation.has('json')) printJson(io, { ...found, revoked });
    else print(io, query, found);
    const unknown = query.id === undefined ? undefined : unknownTo(resources, query.id);
    if (unknown !== undefined) io.err(`${unknown}\n`);
    for (const each of revoked) io.err(`${query.id} is revoked, so that every gateway refuses it: ${each}\n`);
    return 0;
  },
};

/** A sentence about an identity that no resource speaks of: it may be misspelt. */
function unknownTo(resources: readonly Resource[], id: SpiffeId): string | undefined {
  if (isSpokenOf(resources, id)) return undefined;
  return `no Identity can give ${id}, and no McpServer and no Access names it${meant(id, namesIn(resources))}`;
}

/** Throws MisuseError. */
function queryOf(invocation: Invocation): ReachQuery {
  const [named, ...more] = invocation.positionals;
  const [server, tool] = [invocation.text('server'), invocation.text('tool')];
  if (more.length > 0) throw new MisuseError(`one SPIFFE ID is expected, found ${more.length + 1}`);
  if (named === undefined && server === undefined && tool === undefined)
    throw new MisuseError('give a SPIFFE ID, --server or --tool');
  return { id: named === undefined ? undefined : identityIn(named), server, tool };
}

function identityIn(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (!isRefusal(error, 'spiffe_id')) throw error;
    throw new MisuseError(`one whole SPIFFE ID is expected, found "${text}": ${error.message}`);
  }
}

function formatOf(invocation: Invocation): GraphFormat | undefined {
  const given = invocation.text('graph');
  const format = GRAPHS.find((each) => each === given);
  if (given !== undefined && format === undefined)
    throw new MisuseError(`--graph is ${GRAPHS.join(' or ')}, found "${given}"`);
  if (given !== undefined && invocation.has('json'))
    throw new MisuseError('--graph prints no JSON: leave --graph or --json out');
  return format;
}

/** Why the identity as a whole is revoked; single certificates and nodes of it are not looked at. */
async function revocationsOf(invocation: Invocation, id: SpiffeId): Promise<readonly string[]> {
  const { revocations } = await callOperator(invocation, (client) => client.listRevocations, {});
  const now = new Date();
  return revocations
    .filter((each) => {
      const until = each.until === 0n ? undefined : new Date(Number(each.until) * 1000);
      return isInForce({ until }, now) && revokesIdentity(each, id);
    })
    .map(({ number, kind, value, reason }) => `revocation ${number} of ${kind} ${value} (${reason})`);
}

function print(io: Io, query: ReachQuery, reach: Reach): void {
  printReach(io, query, reach);
  for (const { server, until } of reach.observing)
    io.out(
      `\nMcpServer/${server} observes until ${until}: what rules deny passes for all who may reach it\n`,
    );
}

function printReach(io: Io, { id, server, tool }: ReachQuery, { calls, callers, clear }: Reach): void {
  const what = tool === undefined ? '' : ` ${tool}`;
  if (id !== undefined && calls.length === 0)
    io.out(tool === undefined ? `${id} may call nothing\n` : `${id} may not call ${tool}\n`);
  if (calls.length > 0) {
    io.out(`${id} may call${what}:\n`);
    printGrants(io, calls);
  }
  if (callers.length === 0 && id !== undefined) return;
  const served = id === undefined ? (server ?? 'any server') : `what ${id} serves`;
  if (calls.length > 0) io.out('\n');
  io.out(
    callers.length === 0 ? `nobody may call${what} at ${served}\n` : `who may call${what} at ${served}:\n`,
  );
  if (callers.length > 0) printGrants(io, callers);
  if (clear.length > 0) printClear(io, clear);
}

function printClear(io: Io, clear: readonly InClear[]): void {
  io.out('\nrecords have these arguments in clear, and the SHA-256 of all:\n');
  printTable(
    io,
    ['SERVER', 'TOOLS', 'ARGUMENTS'],
    clear.map(({ server, tools, fields }) => [server, tools.join(', '), fields.join(', ')]),
  );
}

/** One table for each kind. */
function printGrants(io: Io, grants: readonly Grant[]): void {
  const kinds = BLOCKS.filter(({ kind }) => grants.some((each) => each.kind === kind));
  for (const [index, { kind, key }] of kinds.entries()) {
    const title = kind === 'elicitation-url' ? `${key} by URL` : key;
    if (index > 0) io.out('\n');
    printTable(
      io,
      ['WHO', 'SERVER', title.toUpperCase(), 'EXCEPT', 'RULES'],
      grants.filter((each) => each.kind === kind).map(cellsOf),
    );
  }
}

const cellsOf = ({ who, server, names, except, exceptForSome, rules }: Grant): string[] => [
  who,
  server,
  names.join(', '),
  [...except, ...exceptForSome.map((each) => `${each} for some`)].join(', ') || '-',
  rules.join(', '),
];
