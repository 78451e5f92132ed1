/** `review`: which resources somebody must look at again, and signing one off. */
import type { ReviewedResource } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { waitedFor } from '../bar.ts';
import { instant, OPERATOR_FLAGS, printJson, printTable } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** A CA with a million records reads them page by page. */
const SECONDS = 120;

export const review: Command = {
  says: 'Lists resources that somebody must look at again, and why; sign-off records that somebody has.',
  positionals: '[sign-off KIND/NAME]',
  flags: {
    all: { type: 'boolean', says: 'Also resources that nobody must look at.' },
    reason: { type: 'string', value: 'TEXT', says: 'sign-off: why it may stay, for the audit log.' },
    'dry-run': { type: 'boolean', says: 'sign-off: only show what would be signed off.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [verb, named, ...more] = invocation.positionals;
    if (verb === undefined) return list(invocation, io);
    if (verb !== 'sign-off' || named === undefined || more.length > 0)
      throw new MisuseError(`give nothing, or sign-off KIND/NAME${meant(verb, ['sign-off'])}`);
    return signOff(named, invocation, io);
  },
};

async function list(invocation: Invocation, io: Io): Promise<ExitStatus> {
  if (invocation.text('reason') !== undefined || invocation.has('dry-run'))
    throw new MisuseError('--reason and --dry-run are flags of `review sign-off KIND/NAME`');
  const found = await reviewed(invocation, io, invocation.has('all'));
  if (invocation.has('json')) printJson(io, found);
  else if (found.length === 0) io.out('no resource needs a review\n');
  else
    printTable(
      io,
      ['RESOURCE', 'WHY', 'LAST USE', 'REVIEW BY', 'UNTIL', 'OWNER', 'SIGNED OFF'],
      found.map((each) => [
        `${each.kind}/${each.name}`,
        each.why.join(', ') || '-',
        each.useKnown ? timeOr(each.lastUse, each.isNew ? 'none yet' : 'none on record') : 'not known',
        timeOr(each.reviewBy, '-'),
        timeOr(each.until, '-'),
        ownerOf(each),
        each.signedOffAt === 0n ? '-' : `${instant(each.signedOffAt)} by ${each.signedOffBy}`,
      ]),
    );
  return 0;
}

async function signOff(named: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  if (invocation.has('all')) throw new MisuseError('--all is a flag of `review` alone');
  const reason = invocation.text('reason') ?? '';
  if (reason.trim() === '') throw new MisuseError('--reason is required: why it may stay');
  const found = (await reviewed(invocation, io, true)).find(({ kind, name }) => `${kind}/${name}` === named);
  if (found === undefined)
    throw new IdentityError('review', `no resource ${named} is in force; chancery-ca get lists them`);
  const { kind, name, digest } = found;
  const isDry = invocation.has('dry-run');
  const made = isDry
    ? undefined
    : await callOperator(invocation, (client) => client.signOff, { kind, name, digest, reason });
  if (invocation.has('json')) printJson(io, { kind, name, digest, reason, ...made });
  else io.out(`${isDry ? 'would sign off' : 'signed off'} ${named} as it is (sha256 ${digest})\n`);
  if (found.why.some((each) => each === 'overdue' || each === 'next-date'))
    io.err(`its reviewBy has passed: give it the next one in its file, and apply\n`);
  return 0;
}

async function reviewed(invocation: Invocation, io: Io, all: boolean): Promise<readonly ReviewedResource[]> {
  const call = () => callOperator(invocation, (client) => client.review, { all }, SECONDS);
  return (await waitedFor(io, 'the CA goes through its records', call)).resources;
}

const timeOr = (time: bigint, none: string): string => (time === 0n ? none : instant(time));

function ownerOf({ owner, ownerSeen }: ReviewedResource): string {
  if (owner === '') return '-';
  return `${owner} (${ownerSeen === 0n ? 'nobody of that name signed in' : `signed in ${instant(ownerSeen)}`})`;
}
