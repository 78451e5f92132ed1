/** `rotate`: replaces the root of the CA or its JWT key step by step, or the intermediate at once. */
import type { OperatorClient } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { RotateJwtRequest, Rotation } from '@chancery/proto/gen/chancery/v1/rotation.ts';
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
import { printable } from '@chancery/shared/text/printable.ts';
import { waitedFor } from '../bar.ts';
import { OPERATOR_FLAGS, printJson } from '../flags.ts';
import { callOperator, type Unary } from '../operator/admin.ts';
import { readCarried, requestLine } from './offline.ts';
import { printRotation } from './text.ts';
import { rotateAll, watchRotation } from './watch.ts';

/** The flags of each form besides --config and --json; '' is `rotate` alone. */
const FORMS: Readonly<Record<string, readonly string[]>> = {
  '': ['auto', 'older-than', 'intermediate', 'root', 'dry-run'],
  status: ['watch'],
  next: ['without', 'yes-to-stragglers', 'reason', 'yes', 'dry-run'],
  rollback: ['dry-run'],
  standby: ['dry-run'],
  jwt: ['auto', 'older-than', 'dry-run'],
  'jwt status': ['watch'],
  'jwt next': ['without', 'yes-to-stragglers', 'reason', 'yes', 'dry-run'],
  'jwt rollback': ['dry-run'],
};
const WORDS = Object.keys(FORMS).filter((each) => each !== '' && !each.includes(' '));

export const rotate: Command = {
  says:
    'Makes a new root and puts it into the bundle. `status` says what the rotation waits for, `next` makes the next ' +
    'step, `rollback` takes it back. `standby` makes a root that replaces the active one if that is tainted. `jwt` ' +
    'does the same for the key that signs tokens.',
  positionals: '[jwt] [status | next | rollback | standby]',
  words: WORDS,
  flags: {
    auto: {
      type: 'boolean',
      says: 'Make all steps, each as soon as it may be made; goes on where it was ended.',
    },
    'older-than': {
      type: 'string',
      value: 'TIME',
      says: 'With --auto, for timers: do nothing, with status 0, unless the active one signs for longer, such as 300d.',
    },
    intermediate: { type: 'boolean', says: 'Replace the intermediate under the root, and not the root.' },
    root: {
      type: 'string',
      value: 'FILE',
      says: 'Rotate to this offline root (chancery-ca ceremony export), instead of one that the CA makes.',
    },
    watch: { type: 'boolean', says: 'With `status`: print it again whenever it changes.' },
    without: {
      type: 'string',
      multiple: true,
      value: 'SPIFFE-ID',
      says: 'With `next`: do not wait for this SPIFFE ID (repeatable).',
    },
    'yes-to-stragglers': { type: 'boolean', says: 'With `next` and --reason: wait for nobody.' },
    reason: { type: 'string', value: 'TEXT', says: 'Why, for the audit log.' },
    yes: {
      type: 'boolean',
      says: 'With `next`: also remove a root or JWT key that retires, which cannot be taken back.',
    },
    'dry-run': {
      type: 'boolean',
      says: 'Only say where the rotation stands, or why the step may not be made.',
    },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const form = formOf(invocation);
    if (form.startsWith('jwt')) return jwtForm(form, invocation, io);
    if (form === 'status') return status(invocation, io);
    if (form === 'next') return next(invocation, io);
    if (form === 'rollback') return step(invocation, io, (client) => client.rotateRollback, {});
    if (form === 'standby') return standby(invocation, io);
    if (invocation.has('auto')) return auto(invocation, io);
    ensureAuto(invocation);
    return begin(invocation, io);
  },
};

/** Throws MisuseError for a word that is none, and for a flag of another form. */
function formOf(invocation: Invocation): string {
  const { positionals } = invocation;
  const form = positionals.join(' ');
  const own = Object.hasOwn(FORMS, form) ? FORMS[form] : undefined;
  if (own === undefined) {
    const hint = meant(positionals.at(-1) ?? '', WORDS);
    throw new MisuseError(`expected status, next, rollback, standby or jwt; found "${form}"${hint}`);
  }
  for (const [other, flags] of Object.entries(FORMS))
    for (const flag of flags)
      if (!own.includes(flag) && isGiven(invocation, flag))
        throw new MisuseError(`--${flag} is a flag of \`${`rotate ${other}`.trim()}\``);
  return form;
}

const isGiven = (invocation: Invocation, flag: string): boolean =>
  invocation.has(flag) || invocation.texts(flag).length > 0;

async function status(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const read = () => callOperator(invocation, (client) => client.getRotation, {});
  if (invocation.has('watch')) return watchRotation(read, io, invocation.has('json'));
  const rotation = await read();
  await say(invocation, io, rotation);
  return 0;
}

/** No backup of before has the new root, and none ever has its key. */
async function standby(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const status = await step(invocation, io, (client) => client.standBy, {});
  if (!invocation.has('dry-run'))
    tell(invocation, io, 'next:  make a backup, which has the new root on record');
  return status;
}

function begin(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const [intermediate, root] = [invocation.has('intermediate'), rootOf(invocation)];
  if (intermediate && root.length > 0) throw new MisuseError('give --intermediate or --root, not both');
  return step(invocation, io, (client) => client.rotate, { intermediate, root });
}

/** The file of --root; empty without one. Throws file. */
function rootOf(invocation: Invocation): Buffer {
  const file = invocation.text('root');
  return file === undefined ? Buffer.alloc(0) : readCarried(file);
}

async function next(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const waiver = waiverOf(invocation);
  const { stage } = await callOperator(invocation, (client) => client.getRotation, {});
  if (isMeant(stage, invocation)) return step(invocation, io, (client) => client.rotateNext, waiver);
  await callOperator(invocation, (client) => client.rotateNext, { ...waiver, dryRun: true });
  throw new IdentityError('rotation', FOR_GOOD);
}

async function jwtNext(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const order = { ...waiverOf(invocation), step: 'next' };
  const { stage } = await callOperator(invocation, (client) => client.getJwtRotation, {});
  if (isMeant(stage, invocation)) return step(invocation, io, (client) => client.rotateJwt, order);
  await callOperator(invocation, (client) => client.rotateJwt, { ...order, dryRun: true });
  throw new IdentityError('rotation', JWT_FOR_GOOD);
}

/** Whether the step takes nothing away for good, or is asked for with that. */
const isMeant = (stage: string, invocation: Invocation): boolean =>
  stage !== 'retiring' || invocation.has('yes') || invocation.has('dry-run');

/** Two words that are typed once too often must not take the root away that bundle files still have. */
const FOR_GOOD =
  'nothing was changed: this step removes the root that retires, and cannot be taken back. Replace the bundles that ' +
  'agents and jobs start from (chancery-ca bundle), then give --yes';

const JWT_FOR_GOOD =
  'nothing was changed: this step removes the JWT key that retires, and cannot be taken back. Give --yes';

/** Throws MisuseError. */
function waiverOf(invocation: Invocation) {
  const reason = invocation.text('reason') ?? '';
  const yesToStragglers = invocation.has('yes-to-stragglers');
  const without = [...invocation.texts('without')];
  if (yesToStragglers && reason.trim() === '')
    throw new MisuseError('--yes-to-stragglers needs --reason TEXT, which the audit log keeps');
  if (reason !== '' && !yesToStragglers && without.length === 0)
    throw new MisuseError('--reason goes with --without or --yes-to-stragglers');
  return { without, yesToStragglers, reason };
}

const PLAIN = { without: [], yesToStragglers: false, reason: '', dryRun: false };

/** The forms that begin with `jwt`. */
async function jwtForm(form: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const json = invocation.has('json');
  const read = () => callOperator(invocation, (client) => client.getJwtRotation, {});
  const make = (name: string) =>
    callOperator(invocation, (client) => client.rotateJwt, { ...PLAIN, step: name });
  const jwtStep: Step<Omit<RotateJwtRequest, 'dryRun'>> = (client) => client.rotateJwt;
  if (form === 'jwt status') {
    if (invocation.has('watch')) return watchRotation(read, io, json);
    say(invocation, io, await read());
    return 0;
  }
  if (form === 'jwt next') return jwtNext(invocation, io);
  if (form === 'jwt rollback') return step(invocation, io, jwtStep, { ...PLAIN, step: 'rollback' });
  if (!invocation.has('auto')) {
    ensureAuto(invocation);
    return step(invocation, io, jwtStep, { ...PLAIN, step: 'begin' });
  }
  if (invocation.has('dry-run')) throw new MisuseError('--auto makes all steps: leave --dry-run out');
  const calls = { status: read, begin: () => make('begin'), next: () => make('next') };
  return rotateAll(calls, io, { json, olderThan: olderThanOf(invocation) });
}

/** Throws MisuseError. */
function ensureAuto(invocation: Invocation): void {
  if (invocation.text('older-than') !== undefined) throw new MisuseError('--older-than goes with --auto');
}

/** Seconds. Throws MisuseError. */
function olderThanOf(invocation: Invocation): number | undefined {
  const text = invocation.text('older-than');
  if (text === undefined) return undefined;
  try {
    return parseDuration(text);
  } catch (error) {
    throw new MisuseError(`--older-than: ${error instanceof Error ? error.message : String(error)}`);
  }
}

type Step<Req> = (client: OperatorClient) => Unary<Req & { dryRun: boolean }, Rotation>;

async function step<Req>(invocation: Invocation, io: Io, call: Step<Req>, request: Req): Promise<ExitStatus> {
  const dryRun = invocation.has('dry-run');
  const asked = () => callOperator(invocation, call, { ...request, dryRun });
  const answer = await waitedFor(io, 'the CA makes the step', asked);
  await say(invocation, io, answer);
  // A CA of an older release does not say it.
  if (dryRun && answer.would !== '') tell(invocation, io, `this step ${printable(answer.would)}`);
  if (dryRun) tell(invocation, io, 'nothing was changed (dry run)');
  return 0;
}

/** Standard output is one value with --json, which has it. */
function tell(invocation: Invocation, io: Io, says: string): void {
  if (!invocation.has('json')) io.out(`${says}\n`);
}

function auto(invocation: Invocation, io: Io): Promise<ExitStatus> {
  if (invocation.has('intermediate') || invocation.has('dry-run'))
    throw new MisuseError('--auto makes all steps of a root: leave --intermediate and --dry-run out');
  const [dryRun, root] = [false, rootOf(invocation)];
  return rotateAll(
    {
      status: () => callOperator(invocation, (client) => client.getRotation, {}),
      begin: () => callOperator(invocation, (client) => client.rotate, { intermediate: false, dryRun, root }),
      next: () => callOperator(invocation, (client) => client.rotateNext, PLAIN),
    },
    io,
    { json: invocation.has('json'), olderThan: olderThanOf(invocation) },
  );
}

async function say(invocation: Invocation, io: Io, rotation: Rotation): Promise<void> {
  const { requests } = await callOperator(invocation, (client) => client.listAuthorityRequests, {});
  if (invocation.has('json')) printJson(io, { ...rotation, requests });
  else {
    printRotation(io, rotation);
    for (const each of requests) io.out(`${requestLine(each)}\n`);
  }
}
