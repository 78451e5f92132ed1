/** `countersign`: the second person agrees to one use of a verb, which another operator has asked for. */
import type { CountersignedUse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { instant, OPERATOR_FLAGS, printJson, printTable } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

export const countersign: Command = {
  says: 'Lists what waits for a second operator; with a number, agrees to that one use, or withdraws it.',
  positionals: '[NUMBER]',
  flags: {
    'dry-run': { type: 'boolean', says: 'Only show what would be countersigned, or withdrawn.' },
    withdraw: { type: 'boolean', says: 'End a request of your own, instead.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [number, ...more] = invocation.positionals;
    if (more.length > 0) throw new MisuseError('one number is expected');
    if (number !== undefined && !/^[1-9]\d{0,14}$/.test(number))
      throw new MisuseError(`"${number}" is not the number of a request`);
    if (invocation.has('withdraw') && !invocation.has('dry-run')) return withdraw(number, invocation, io);
    const { requests } = await callOperator(invocation, (client) => client.listRequests, {});
    if (number === undefined) return list(requests, invocation, io);
    return agree(
      requests.find((each) => String(each.number) === number),
      invocation,
      io,
    );
  },
};

function list(requests: readonly CountersignedUse[], invocation: Invocation, io: Io): ExitStatus {
  if (invocation.has('dry-run')) throw new MisuseError('--dry-run needs the number of a request');
  if (invocation.has('json')) printJson(io, requests);
  else if (requests.length === 0) io.out('nothing waits for a second operator\n');
  else
    printTable(
      io,
      ['NUMBER', 'COMMAND', 'WHAT', 'BY', 'UNTIL', 'COUNTERSIGNED BY'],
      requests.map((each) => [
        String(each.number),
        each.verb,
        each.about,
        each.by,
        instant(each.until),
        each.countersignedBy || '-',
      ]),
    );
  return 0;
}

async function withdraw(text: string | undefined, invocation: Invocation, io: Io): Promise<ExitStatus> {
  if (text === undefined) throw new MisuseError('--withdraw needs the number of a request');
  const { request } = await callOperator(invocation, (client) => client.withdraw, { number: BigInt(text) });
  if (invocation.has('json')) printJson(io, request);
  else io.out(`withdrew request ${text}: ${request?.verb} ${printable(request?.about ?? '')}\n`);
  return 0;
}

async function agree(
  found: CountersignedUse | undefined,
  invocation: Invocation,
  io: Io,
): Promise<ExitStatus> {
  if (found === undefined)
    throw new IdentityError(
      'countersign',
      'no request of this number waits: chancery-ca countersign lists them, and none ever waits without twoPeople',
    );
  const { number, verb, about, digest, by, until } = found;
  const isDry = invocation.has('dry-run');
  const would = invocation.has('withdraw') ? 'would withdraw' : 'would countersign';
  const made = isDry
    ? found
    : (await callOperator(invocation, (client) => client.countersign, { number })).request;
  if (invocation.has('json')) printJson(io, made);
  else
    io.out(
      `${isDry ? would : 'countersigned'} request ${number}: ${verb} ${printable(about)}\n` +
        `for ${printable(by)}, once, until ${instant(until)} (sha256 ${digest})\n`,
    );
  return 0;
}
