/** What `check` says of a CA that serves: asked over its admin socket, and compared with the config as it is now. */
import type { Serving } from '@chancery/proto/gen/chancery/v1/serving.ts';
import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { type Differing, differing, type Loaded } from '../../serving/loaded.ts';
import { instant } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** What is known of the CA that has the data folder. */
export type Asked =
  | { readonly serving: Serving; readonly restart: readonly Differing[] }
  /** Why there is no answer. */
  | { readonly silent: string };

/** A CA that answers does so at once. */
const SECONDS = 5;
/** A longer value is a list that no line has room for. */
const MAX_SHOWN = 80;

/** What the CA answers, or why it does not. */
export async function askServing(invocation: Invocation, found: Loaded): Promise<Asked> {
  try {
    const serving = await callOperator(invocation, (client) => client.getServing, {}, SECONDS);
    const { settings, files } = serving;
    const serves = {
      settings: new Map(settings.map(({ path, value }) => [path, value])),
      files: new Map(files.map(({ path, sha256 }) => [path, sha256])),
    };
    return { serving, restart: differing(serves, found) };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { silent: error.message };
  }
}

/** What needs a look, beside what `check` finds itself. */
export function servingWarnings(asked: Asked): readonly string[] {
  if ('silent' in asked)
    return [`a process uses this dataDir, and does not say what it has: ${asked.silent}`];
  const { unfit, warnings } = asked.serving;
  return [...(unfit === '' ? [] : [`the CA that serves is not ready: ${unfit}`]), ...warnings];
}

/** Some lines, to standard output. */
export function printServing(asked: Asked, version: string, io: Pick<Io, 'out'>): void {
  if ('silent' in asked) {
    io.out('a CA serves with this dataDir, so its data was not looked at\n');
    return;
  }
  const { serving, restart } = asked;
  const { policy, resources, revocations, authorities } = serving;
  const counts = `${counted(resources, 'resource')} (version ${policy}), ${counted(revocations, 'revocation')}`;
  const lines = [
    `a CA serves with this dataDir: chancery-ca ${serving.version} since ${instant(serving.since)}, ` +
      `${serving.unfit === '' ? 'ready' : 'not ready'}; its data was not looked at`,
    `it has in force: ${counts}`,
    ...authorities.map(
      ({ kind, serial, state, notAfter }) => `  ${kind} ${serial}: ${state}, until ${instant(notAfter)}`,
    ),
    ...restartLines(restart, serving.version, version),
  ];
  io.out(lines.map((line) => `${printable(line)}\n`).join(''));
}

const counted = (count: bigint, what: string): string => `${count} ${what}${count === 1n ? '' : 's'}`;

function restartLines(restart: readonly Differing[], serves: string, here: string): readonly string[] {
  const program = serves === here ? [] : [`  chancery-ca ${serves}: ${here}`];
  if (restart.length + program.length === 0) return ['a restart would load what it has: nothing differs'];
  const rows = restart.map(
    ({ name, serves: was, found }) => `  ${name}: ${shown(was)}, and in the file ${shown(found)}`,
  );
  return ['a restart would change (SIGHUP reads nothing again):', ...program, ...rows];
}

const shown = (value: string | undefined): string => {
  if (value === undefined) return 'not set';
  return value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value;
};

/** For `--json`. */
export function servingJson(asked: Asked | undefined): object {
  if (asked === undefined) return { isServing: false };
  if ('silent' in asked) return { isServing: true, serving: null, silent: asked.silent };
  const { settings: _, files: __, ...serving } = asked.serving;
  const restart = asked.restart.map(({ name, serves, found }) => ({
    name,
    serves: serves ?? null,
    found: found ?? null,
  }));
  return { isServing: true, serving, restart };
}
