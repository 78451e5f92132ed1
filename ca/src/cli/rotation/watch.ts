/** Follows a rotation: `rotate status --watch`, and `rotate --auto`, which also makes its steps. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Rotation } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import type { ExitStatus, Io } from '@chancery/shared/cli/program.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { instant, printJson } from '../flags.ts';
import { printRotation, progressOf } from './text.ts';

/** The calls of the running CA that the loop makes. */
export interface RotationCalls {
  /** Where the rotation stands. */
  status(): Promise<Rotation>;
  /** Makes a new root. */
  begin(): Promise<Rotation>;
  /** Makes the next step. */
  next(): Promise<Rotation>;
}

const LOOK_MS = 1_000;
/** A CA that restarts is back by then. */
const MAX_AWAY_LOOKS = 300;
/** A step that was refused may be made a moment later: an agent came or went meanwhile. */
const MAX_REFUSED = 10;

/** Prints the status, and again whenever it changes, until the command is interrupted or the CA does not answer. */
export async function watchRotation(
  read: RotationCalls['status'],
  io: Io,
  json: boolean,
): Promise<ExitStatus> {
  let before = '';
  for (;;) {
    const rotation = await read();
    const lines: string[] = [];
    const paper = { ...io, out: (text: string) => void lines.push(text) };
    if (json) printJson(paper, rotation);
    else printRotation(paper, rotation);
    const text = lines.join('');
    if (text !== before) io.out(before === '' || json ? text : `\n${text}`);
    before = text;
    await sleep(LOOK_MS, undefined, { signal: io.signal });
  }
}

export interface AutoOrder {
  readonly json: boolean;
  /** Seconds. Where none is under way, one is begun only if what signs has signed for longer. */
  readonly olderThan: number | undefined;
}

/**
 * Makes each step as soon as it may be made, from wherever the rotation stands, and resolves when none is under way any
 * more. What is interrupted goes on when the command is run again. Throws what the CA refuses for good.
 */
export async function rotateAll(
  calls: RotationCalls,
  io: Io,
  { json, olderThan }: AutoOrder,
): Promise<ExitStatus> {
  const told = progressTo(io, json);
  try {
    let rotation = await calls.status();
    told(rotation);
    if (rotation.stage === 'idle') {
      if (!isDue(rotation, olderThan)) return done(rotation, io, json);
      rotation = await calls.begin();
    }
    told(rotation);
    const patience = { away: 0, refused: 0 };
    const target = targetOf(rotation);
    while (rotation.stage !== 'idle') {
      if (rotation.stage === 'retiring') ensureReached(target, rotation);
      if (rotation.waits.length > 0) await sleep(LOOK_MS, undefined, { signal: io.signal });
      io.signal.throwIfAborted();
      rotation = await look(calls, rotation, patience, io);
      told(rotation);
    }
    ensureReached(target, rotation);
    return done(rotation, io, json);
  } catch (error) {
    if (io.progress !== undefined) io.progress('');
    if (io.signal.aborted) io.err('the rotation stays where it is; the same command goes on\n');
    throw error;
  }
}

function done(rotation: Rotation, io: Io, json: boolean): ExitStatus {
  io.progress?.('');
  if (json) printJson(io, rotation);
  else printRotation(io, rotation);
  return 0;
}

/**
 * Whether one is to be begun. Without an age only the first is: an operator who runs the command again after the end
 * has not asked for another. Throws rotation.
 */
function isDue({ roots, endedAt, kind }: Rotation, olderThan: number | undefined): boolean {
  const active = roots.find(({ state }) => state === 'active');
  if (olderThan !== undefined) return Date.now() / 1000 - Number(active?.movedAt ?? 0n) > olderThan;
  const command = kind === 'jwt' ? 'chancery-ca rotate jwt' : 'chancery-ca rotate';
  const says = `no rotation is under way, and the last one ended at ${instant(endedAt)}`;
  const advice = `\`${command}\` begins another one and --auto goes on; for a timer there is --older-than`;
  ensure(endedAt === 0n, 'rotation', `${says}: ${advice}`);
  return true;
}

/** The root that is to sign at the end. */
const targetOf = ({ stage, roots }: Rotation): string | undefined =>
  roots.find(({ state }) => (state === 'active') === (stage === 'retiring' || stage === 'idle'))?.serial;

/** Throws rotation if somebody has taken the rotation back: then nothing may be removed in their name. */
function ensureReached(target: string | undefined, { roots, kind }: Rotation): void {
  const active = roots.find(({ state }) => state === 'active')?.serial;
  const [noun, command] = kind === 'jwt' ? ['JWT key', 'rotate jwt'] : ['root', 'rotate'];
  const says = `the rotation was taken back: ${noun} ${active} signs, not ${noun} ${target}`;
  ensure(active === target, 'rotation', `${says}; chancery-ca ${command} status says where it stands`);
}

interface Patience {
  away: number;
  refused: number;
}

/** The next step where it may be made, else the status; the same one again while the CA restarts. */
async function look(calls: RotationCalls, before: Rotation, patience: Patience, io: Io): Promise<Rotation> {
  try {
    const rotation = await (before.waits.length > 0 ? calls.status() : calls.next());
    patience.away = 0;
    if (before.waits.length === 0) patience.refused = 0;
    return rotation;
  } catch (error) {
    const isAway = isRefusal(error, 'unavailable');
    patience.away = isAway ? patience.away + 1 : 0;
    if (!isAway) patience.refused += 1;
    if (patience.away > MAX_AWAY_LOOKS || patience.refused > MAX_REFUSED) throw error;
    if (isAway && patience.away === 1) io.err(`${String((error as Error).message)}; it is asked again\n`);
    await sleep(LOOK_MS, undefined, { signal: io.signal });
    return calls.status().catch(() => before);
  }
}

/** A line that is rewritten on a terminal; without one, a line for each change. Nothing with --json. */
function progressTo(io: Io, json: boolean): (rotation: Rotation) => void {
  let [most, before] = [0, ''];
  return (rotation) => {
    most = Math.max(most, Number(rotation.chainedTotal?.certificates ?? 0n));
    const line = progressOf(rotation, most);
    if (json || line === before) return;
    before = line;
    if (io.progress === undefined) io.err(`${line}\n`);
    else io.progress(line);
  };
}
