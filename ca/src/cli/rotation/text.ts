/** What a rotation looks like on a terminal. */
import type { HeldCertificates, Rotation } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import type { Io } from '@chancery/shared/cli/program.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { NO_STANDBY } from '../../serving/concerns.ts';
import { instant, printTable } from '../flags.ts';

interface Words {
  readonly stages: Readonly<Record<string, string>>;
  /** By the step: what it does. */
  readonly steps: Readonly<Record<string, string>>;
  readonly command: string;
  readonly noun: string;
}

const ROOT: Words = {
  stages: {
    idle: 'no rotation is under way',
    prepared: 'a new root is prepared, and nobody has heard of it',
    published: 'the new root is in the bundle, and nothing signs with it yet',
    retiring: 'one root signs, and the other one is in the bundle until nothing chains to it',
  },
  steps: {
    publish: 'puts the new root into the bundle',
    activate: 'lets the new root sign',
    remove: 'removes the retiring root and its key; this cannot be taken back',
  },
  command: 'chancery-ca rotate',
  noun: 'root',
};

const JWT: Words = {
  stages: {
    idle: 'no rotation of the JWT key is under way',
    prepared: 'a new JWT key is prepared, and nobody has heard of it',
    published: 'the new JWT key is in bundle and key set, and signs nothing yet',
    retiring: 'one JWT key signs, and the other one verifies until no token of it can live',
  },
  steps: {
    publish: 'puts the new JWT key into bundle and key set',
    activate: 'lets the new JWT key sign',
    remove: 'removes the retiring JWT key; this cannot be taken back',
  },
  command: 'chancery-ca rotate jwt',
  noun: 'JWT key',
};

const wordsOf = ({ kind }: Pick<Rotation, 'kind'>): Words => (kind === 'jwt' ? JWT : ROOT);

/** Rows of a table; `--json` has up to 1000. */
const MAX_ROWS = 20;
const BAR_COLUMNS = 20;

/** Prints where the rotation stands, what it waits for, and the next step. */
export function printRotation(io: Pick<Io, 'out' | 'err' | 'columns'>, rotation: Rotation): void {
  const { steps, command, noun } = wordsOf(rotation);
  const { made, next, waits, endedAt } = rotation;
  if (made !== '') io.out(`made:  the step that ${steps[made] ?? made}\n`);
  for (const each of rotation.leftBehind) io.out(`left behind: ${printable(each)}\n`);
  io.out(`${sentenceOf(rotation)}\n`);
  if (rotation.stage === 'idle' && endedAt !== 0n) io.out(`the last rotation ended at ${instant(endedAt)}\n`);
  printTable(
    io,
    [noun.toUpperCase(), 'STATE', 'SINCE', 'UNTIL', 'ALGORITHM', 'KEY IN'],
    rotation.roots.map((each) => [
      each.serial,
      each.state,
      instant(each.movedAt),
      each.notAfter === 0n ? '-' : instant(each.notAfter),
      each.algorithm,
      each.keyHome,
    ]),
  );
  const held = `waits, before the step that ${steps[next] ?? next}:\n`;
  if (waits.length > 0) io.out(`${held}${waits.map((each) => `  ${each}\n`).join('')}`);
  printStragglers(io, rotation);
  printHeld(io, [...rotation.unheard, ...rotation.chained]);
  for (const each of [...fromAbove(rotation), ...rotation.warnings]) io.out(`${printable(each)}\n`);
  const isBare = rotation.kind === '' && rotation.roots.every(({ state }) => state !== 'standby');
  if (isBare) io.out(`${NO_STANDBY}\n`);
  // What would be refused now is no hint.
  const yes = rotation.stage === 'retiring' ? ' --yes' : '';
  if (rotation.stage !== 'idle' && waits.length === 0)
    io.out(`next:  \`${command} next${yes}\` ${steps[next] ?? next}\n`);
}

/** What peers that trust only a CA above refuse, or may come to. */
function fromAbove({ roots, stage, above }: Rotation): readonly string[] {
  const isCertified = roots.some(({ state, crossUntil }) => state === 'active' && crossUntil > 0n);
  if (stage === 'idle' && above.length === 0 && isCertified)
    return ['a CA above has certified the root that signs; the next root needs that, too, before it signs'];
  return above;
}

function sentenceOf({ stage, roots, kind }: Rotation): string {
  const { stages } = wordsOf({ kind });
  const [signs, retires] = ['active', 'retiring'].map(
    (state) => roots.find((each) => each.state === state)?.serial,
  );
  if (kind === '' && stage === 'retiring' && signs !== undefined && retires !== undefined)
    return `retiring: root ${signs} signs; root ${retires} is in the bundle until nothing chains to it`;
  return `${stage}: ${stages[stage] ?? 'upgrade this chancery-ca'}`;
}

function printStragglers(io: Pick<Io, 'out' | 'columns'>, { stragglers, stragglerCount }: Rotation): void {
  if (stragglers.length === 0) return;
  printTable(
    io,
    ['NOT ACKNOWLEDGED', 'NODE', 'ADDRESS', 'VERSION', 'SINCE'],
    stragglers
      .slice(0, MAX_ROWS)
      .map((each) => [
        each.spiffeId,
        `${each.platform}/${each.node}`,
        each.address,
        each.version,
        instant(each.since),
      ]),
  );
  more(io, Number(stragglerCount));
}

function printHeld(io: Pick<Io, 'out' | 'columns'>, held: readonly HeldCertificates[]): void {
  if (held.length === 0) return;
  printTable(
    io,
    ['CERTIFICATES OF', 'COUNT', 'LAST ENDS', 'AWAY SINCE', 'LAST ADDRESS'],
    held
      .slice(0, MAX_ROWS)
      .map(({ spiffeId, certificates, until, awaySince, lastAddress }) => [
        spiffeId,
        String(certificates),
        instant(until),
        awaySince === 0n ? '-' : instant(awaySince),
        lastAddress || '-',
      ]),
  );
  more(io, held.length);
}

function more(io: Pick<Io, 'out'>, count: number): void {
  if (count > MAX_ROWS) io.out(`and ${count - MAX_ROWS} more: --json\n`);
}

/**
 * One line: how far the step under way has come. `most` is the greatest number of certificates that this command has
 * seen.
 */
export function progressOf(rotation: Rotation, most: number): string {
  const { stage, agents, stragglerCount, unheardTotal, chainedTotal, waits, kind } = rotation;
  if (stage === 'published') {
    const have = Number(agents - stragglerCount);
    const silent = unheardTotal?.certificates ?? 0n;
    const also =
      silent === 0n ? '' : `, ${silent} certificates without a stream ${lastOf(unheardTotal?.until)}`;
    const timed = kind === 'jwt' ? waits.filter((each) => each.startsWith('caches')) : [];
    const what = wordsOf(rotation).noun;
    const all = [`${have} of ${agents} agents have the new ${what}${also}`, ...timed].join('; ');
    return `published ${bar(have, Number(agents))} ${all}`;
  }
  if (stage === 'retiring' && kind === '') {
    const left = Number(chainedTotal?.certificates ?? 0n);
    const also = left === 0 ? '' : `, ${lastOf(chainedTotal?.until)}`;
    return `retiring ${bar(most - left, most)} ${left} certificates chain to the retiring root${also}`;
  }
  return `${stage}${waits.length > 0 ? `: ${waits.join('; ')}` : ''}`;
}

const lastOf = (until = 0n): string => `the last ends at ${instant(until)}`;

function bar(done: number, of: number): string {
  const full = of === 0 ? BAR_COLUMNS : Math.floor((done / of) * BAR_COLUMNS);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_COLUMNS - full)}]`;
}

/** What operators elsewhere do after a theft. Nobody can wait until a root has ended. */
export const operatorsText = (kind: string | undefined): string =>
  'operators on other machines are not told: a thief on the way can answer them in the place of the CA. Use the ' +
  'admin socket until they have signed in anew with a carried bundle' +
  `${kind === 'root' ? '' : ', or the stolen intermediate has ended'}\n`;
