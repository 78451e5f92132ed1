/** `revoke`, `unrevoke` and `revocations`: cut identities off before their certificates end. */
import type { Revocation, RevokeResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { REASONS, type Target } from '@chancery/shared/revocation/revocation.ts';
import { instant, OPERATOR_FLAGS, printJson, printTable, printUnacknowledged } from '../flags.ts';
import { callOperator } from './admin.ts';

const WAYS = 'give one of SERIAL, SPIFFE-ID, --node PLATFORM/NODE and --pattern PATTERN';

export const revoke: Command = {
  says: 'Cuts off a certificate, a SPIFFE ID, all that match a pattern, or a node.',
  positionals: '[SERIAL | SPIFFE-ID]',
  flags: {
    node: { type: 'string', value: 'PLATFORM/NODE', says: 'The node, as `issued --json` prints both.' },
    pattern: { type: 'string', value: 'PATTERN', says: 'SPIFFE IDs, as in the who of an Access resource.' },
    reason: { type: 'string', value: 'REASON', says: `${REASONS.join(', ')}; required.` },
    for: { type: 'string', value: 'DURATION', says: 'How long, for instance 1h or 7d (default: no end).' },
    force: { type: 'boolean', says: 'Revoke a serial that this CA has no record of.' },
    'dry-run': { type: 'boolean', says: 'Only say what would be cut off.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const target = targetOf(invocation);
    const reason = invocation.text('reason');
    if (reason === undefined) throw new MisuseError(`--reason is required: ${REASONS.join(', ')}`);
    if (!REASONS.some((each) => each === reason))
      throw new MisuseError(`--reason ${reason}: one of ${REASONS.join(', ')}${meant(reason, REASONS)}`);
    const seconds = BigInt(secondsOf(invocation.text('for')));
    const dryRun = invocation.has('dry-run');
    const request = { ...target, reason, seconds, dryRun, force: invocation.has('force') };
    const answer = await callOperator(invocation, (client) => client.revoke, request);
    if (invocation.has('json')) printJson(io, answer);
    else printRevoked(io, answer, target.kind);
    if (answer.certificates === 0n && answer.agents === 0n)
      io.err(
        `warning: no certificate in force and no connected agent matches ${target.kind} ${answer.value}\n`,
      );
    return 0;
  },
};

export const unrevoke: Command = {
  says: 'Ends a revocation.',
  positionals: 'NUMBER',
  flags: {
    'dry-run': { type: 'boolean', says: 'Only say what would not be cut off any more.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [text = '', ...more] = invocation.positionals;
    if (!/^[1-9][0-9]{0,14}$/.test(text) || more.length > 0)
      throw new MisuseError('give the NUMBER of one revocation, as `revocations` lists them');
    if (invocation.has('dry-run')) return wouldLift(BigInt(text), invocation, io);
    const request = { number: BigInt(text) };
    const answer = await callOperator(invocation, (client) => client.liftRevocation, request);
    const { revocation, still } = answer;
    if (invocation.has('json')) printJson(io, { ...revocation, still });
    else {
      io.out(`lifted revocation ${text}: ${revocation?.kind} ${revocation?.value}\n`);
      for (const { number, kind, value } of still)
        io.out(`it is still cut off by revocation ${number}: ${kind} ${value}\n`);
    }
    return 0;
  },
};

async function wouldLift(wanted: bigint, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const { revocations: list } = await callOperator(invocation, (client) => client.listRevocations, {});
  const found = list.find(({ number }) => number === wanted);
  if (found === undefined) throw new IdentityError('revocation', `there is no revocation ${wanted} in force`);
  if (invocation.has('json')) printJson(io, found);
  else io.out(`would lift revocation ${wanted}: ${found.kind} ${found.value}\n`);
  return 0;
}

export const revocations: Command = {
  says: 'Lists the revocations in force.',
  flags: { ...OPERATOR_FLAGS, ...JSON_FLAG },
  async run(invocation, io) {
    const { revocations: list } = await callOperator(invocation, (client) => client.listRevocations, {});
    if (invocation.has('json')) printJson(io, list);
    else
      printTable(
        io,
        ['NUMBER', 'REVOKED', 'REASON', 'BY', 'AT', 'UNTIL'],
        list.map((each) => [
          String(each.number),
          `${each.kind} ${each.value}`,
          each.reason,
          each.by,
          instant(each.at),
          untilOf(each),
        ]),
      );
    return 0;
  },
};

function targetOf(invocation: Invocation): Target {
  const [named, ...more] = invocation.positionals;
  const [node, pattern] = [invocation.text('node'), invocation.text('pattern')];
  const given: Target[] = [];
  if (named !== undefined && !/:\/\/|^[0-9A-Fa-f:]+$/.test(named))
    throw new MisuseError(`"${named}" is neither a SPIFFE ID nor a serial number in hexadecimal`);
  if (named !== undefined) given.push({ kind: named.includes('://') ? 'id' : 'serial', value: named });
  if (node !== undefined) given.push({ kind: 'node', value: node });
  if (pattern !== undefined) given.push({ kind: 'pattern', value: pattern });
  const [target] = given;
  if (target === undefined || given.length > 1 || more.length > 0) throw new MisuseError(WAYS);
  return target;
}

const secondsOf = (text: string | undefined): number => (text === undefined ? 0 : parseDuration(text));

const endOf = (revocation: Revocation): string =>
  revocation.until === 0n ? 'no end' : `until ${instant(revocation.until)}`;

const untilOf = ({ until }: Revocation): string => (until === 0n ? 'no end' : instant(until));

const counted = (count: bigint, what: string): string => `${count} ${what}${count === 1n ? '' : 's'}`;

function printRevoked(io: Io, answer: RevokeResponse, kind: string): void {
  const { revocation, certificates, certificatesAtLeast, agents, spiffeIds, value } = answer;
  const many = `${certificatesAtLeast ? 'at least ' : ''}${counted(certificates, 'unexpired certificate')}`;
  const cut = `${many} and ${counted(agents, 'connected agent')}`;
  if (revocation === undefined) io.out(`would revoke ${kind} ${value} and cut off ${cut} (dry run)\n`);
  else
    io.out(
      `revocation ${revocation.number} is in force (${endOf(revocation)}): ${revocation.kind} ${revocation.value}\n` +
        `cut off ${cut}\n`,
    );
  for (const id of spiffeIds) io.out(`  ${id}\n`);
  if (revocation !== undefined) printUnacknowledged(io, answer.unacknowledged);
}
