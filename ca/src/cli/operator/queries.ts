/** `agents`, `issued`, `get`, `export`: what the running CA knows. */
import type { Agent, ListAgentsResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { SnapshotParts } from '@chancery/proto/gen/chancery/v1/trust.ts';
import {
  type Command,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { stringify } from 'yaml';
import { PARTS } from '../../agents/acknowledged.ts';
import type { Resource } from '../../registry/resources.ts';
import { atLeast, instant, OPERATOR_FLAGS, olderCa, printJson, printTable } from '../flags.ts';
import { callOperator } from './admin.ts';
import { inForce } from './in-force.ts';

const KINDS = ['Access', 'Identity', 'McpServer'] as const;

export const agents: Command = {
  says: 'Lists the agents whose trust stream is open, and what each has acknowledged.',
  flags: {
    away: { type: 'boolean', says: 'List instead the holders of certificates without a trust stream.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const answer = await callOperator(invocation, (client) => client.listAgents, {});
    if (invocation.has('away') && answer.current === undefined)
      throw new IdentityError('unavailable', olderCa('who has no trust stream'));
    if (invocation.has('away')) printAway(invocation, io, answer);
    else if (invocation.has('json'))
      printJson(
        io,
        answer.agents.map((each) => ({ ...each, notAcknowledged: behind(each, answer.current) ?? null })),
      );
    else printAgents(io, answer);
    return 0;
  },
};

/** Prints a table of connected agents and, on standard error, how many have not acknowledged what is in force. */
export function printAgents(
  io: Pick<Io, 'out' | 'err' | 'columns'>,
  { agents: list, current, awayCount, awayAtLeast }: ListAgentsResponse,
): void {
  printTable(
    io,
    ['SPIFFE ID', 'ADDRESS', 'VERSION', 'CONNECTED', 'CERTIFICATE UNTIL', 'NOT ACKNOWLEDGED'],
    list.map((each) => [
      each.spiffeId,
      each.address,
      each.version,
      instant(each.connectedAt),
      instant(each.certificateNotAfter),
      partsSentence(behind(each, current)),
    ]),
  );
  if (current === undefined) {
    io.err(`${olderCa('what the agents have acknowledged, and who has no trust stream,')}\n`);
    return;
  }
  for (const part of PARTS) {
    const count = list.filter((each) => behind(each, current)?.includes(part)).length;
    const have = count === 1 ? 'has' : 'have';
    if (count > 0)
      io.err(`${count} of ${list.length} agents ${have} not acknowledged the ${part} in force\n`);
  }
  if (awayCount > 0n)
    io.err(
      `${atLeast(awayCount, awayAtLeast)} with a certificate and without a trust stream: chancery-ca agents --away\n`,
    );
}

/** The parts that an agent has not acknowledged as they are in force. Undefined if an older CA does not say these. */
function behind({ acknowledged }: Agent, current: SnapshotParts | undefined): readonly string[] | undefined {
  return current && PARTS.filter((part) => (acknowledged?.[part] ?? 0n) < current[part]);
}

function partsSentence(parts: readonly string[] | undefined): string {
  if (parts === undefined) return 'not known';
  return parts.join(', ') || '-';
}

/** Prints a table of the holders without a trust stream and, on standard error, how many are not in it. */
export function printAway(
  invocation: Invocation,
  io: Io,
  { away, awayCount, awayAtLeast }: ListAgentsResponse,
): void {
  if (invocation.has('json')) printJson(io, away);
  else
    printTable(
      io,
      ['SPIFFE ID', 'NODE', 'STATE'],
      away.map((each) => [each.spiffeId, nodeName(each), each.revoked ? 'revoked' : '-']),
    );
  const listed = away.filter(({ revoked }) => !revoked).length;
  if (awayCount > listed) io.err(`${atLeast(awayCount - BigInt(listed), awayAtLeast)} more are not listed\n`);
}

export const issued: Command = {
  says: 'Lists certificates, newest first.',
  flags: {
    id: { type: 'string', value: 'SPIFFE-ID', says: 'Only certificates of this SPIFFE ID.' },
    limit: { type: 'string', short: 'n', value: 'COUNT', says: 'How many, at most 1000 (default: 100).' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const limit = Number(invocation.text('limit') ?? 100);
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
      throw new MisuseError('--limit is a number from 1 to 1000');
    const request = { limit, spiffeId: invocation.text('id') ?? '' };
    const { issued: list } = await callOperator(invocation, (client) => client.listIssued, request);
    if (invocation.has('json')) printJson(io, list);
    else
      printTable(
        io,
        ['SERIAL', 'SPIFFE ID', 'PLATFORM', 'IDENTITY', 'NOT BEFORE', 'NOT AFTER'],
        list.map((each) => [
          each.serial,
          each.spiffeId,
          each.platform,
          each.identity,
          instant(each.notBefore),
          instant(each.notAfter),
        ]),
      );
    return 0;
  },
};

export const get: Command = {
  says: 'Lists the resources in force; with KIND/NAME prints that one as YAML.',
  positionals: '[KIND[/NAME]]',
  flags: { ...OPERATOR_FLAGS, ...JSON_FLAG },
  async run(invocation, io) {
    const { kind, name } = wanted(invocation);
    const { resources } = await inForce(invocation, { kind, name });
    if (name !== '' && resources.length === 0)
      throw new IdentityError('resource', `no ${kind}/${name} is in force`);
    if (invocation.has('json')) printJson(io, resources);
    else if (name === '') printTable(io, ['KIND', 'NAME', 'ABOUT'], resources.map(row));
    else printYaml(io, resources);
    return 0;
  },
};

export const exportSet: Command = {
  says: 'Prints all resources in force as YAML that apply -f - takes.',
  flags: OPERATOR_FLAGS,
  async run(invocation, io) {
    const { resources, version } = await inForce(invocation);
    io.out(`# Version ${version}: ${resources.length} resources.\n`);
    printYaml(io, resources);
    return 0;
  },
};

function wanted({ positionals }: Invocation): { readonly kind: string; readonly name: string } {
  const [given = '', ...more] = positionals;
  const [typed = '', name = ''] = given.split('/');
  const kind = KINDS.find((each) => each.toLowerCase() === typed.toLowerCase());
  if (more.length > 0 || (given !== '' && kind === undefined))
    throw new MisuseError(
      `expected one of ${KINDS.join(', ')}, or KIND/NAME; found "${positionals.join(' ')}"`,
    );
  return { kind: kind ?? '', name };
}

function row(resource: Resource): readonly string[] {
  const { kind, name } = resource;
  if (kind === 'Identity') return [kind, name, resource.id];
  if (kind === 'McpServer') return [kind, name, `${resource.identity} at ${resource.address}`];
  return [kind, name, `${resource.who.join(', ')} to ${resource.servers.join(', ')}`];
}

function printYaml(io: Io, resources: readonly Resource[]): void {
  io.out(resources.map((each) => stringify(each, { lineWidth: 0 })).join('---\n'));
}
