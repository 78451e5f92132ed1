/** The frame of a command line: a table of commands, flags by node:util, help, completion and exit statuses. */
import { type ParseArgsOptionDescriptor, parseArgs } from 'node:util';
import { isRefusal } from '../ground/errors.ts';
import { nearest } from '../text/nearest.ts';
import { systemSentenceWithPath } from '../text/system-sentence.ts';

/** 0 done, 1 refused or failed, 2 misused; a command that runs another answers with that one's. */
export type ExitStatus = number;

export interface Flag extends ParseArgsOptionDescriptor {
  readonly says: string;
  /** What the value is, in usage; none for a boolean. */
  readonly value?: string;
}

export interface Invocation {
  readonly positionals: readonly string[];
  /** The value of a flag; undefined if it is not given. */
  text(flag: string): string | undefined;
  /** A repeatable flag. */
  texts(flag: string): readonly string[];
  /** Whether a flag is given. */
  has(flag: string): boolean;
  /** The environment of the process. */
  readonly env?: Io['env'];
}

export interface Command {
  readonly says: string;
  /** Names of the positional arguments in usage, for instance `NAME` or `[FILE...]`. */
  readonly positionals?: string;
  /** What its first argument may be, for completion. */
  readonly words?: readonly string[];
  readonly flags: Readonly<Record<string, Flag>>;
  /** Resolves with the exit status. Throws refusals, which the program prints. */
  run(invocation: Invocation, io: Io): Promise<ExitStatus>;
}

/** All that a command may touch of its process. */
export interface Io {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** Standard input to its end. Throws file if it is longer, or not UTF-8. */
  input(maxBytes: number): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts with Interrupted on SIGINT, SIGTERM, SIGQUIT and, unless it is a server, SIGHUP. */
  readonly signal: AbortSignal;
  readonly isTerminal: boolean;
  /** Of the terminal that `out` writes to; undefined if it is none. */
  readonly columns?: number | undefined;
  /**
   * Shows how far a command is: one line in place of the one before, and the empty one removes it. Not set where
   * standard error is no terminal.
   */
  progress?(line: string): void;
  /**
   * Says that this command is a server: SIGHUP calls `onHangup` instead of ending it, and the process ends at most 5 s
   * after `signal` aborts, whatever is still open.
   */
  serves?(onHangup: () => void): void;
}

/** For each command that can print JSON. */
export const JSON_FLAG = {
  json: { type: 'boolean', says: 'Print JSON.' },
} as const satisfies Record<string, Flag>;

/** The status that a shell gives a program which a signal ended. */
export const ENDS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** Why `Io.signal` aborts. The status is what a shell says of a program that the signal ended. */
export class Interrupted extends Error {
  readonly status: ExitStatus;
  constructor(signal: keyof typeof ENDS) {
    super(`ended by ${signal}`);
    this.status = ENDS[signal];
  }
}

/** Thrown by a command for a call that cannot be meant; the frame names the command's help and answers 2. */
export class MisuseError extends Error {}

export interface Program {
  readonly name: string;
  readonly says: string;
  readonly version: string;
  readonly commands: Readonly<Record<string, Command>>;
}

/** Never throws for what a user did, and never shows a stack. A bug does throw. */
export async function runProgram(program: Program, argv: readonly string[], io: Io): Promise<ExitStatus> {
  const [name = '--help', ...rest] = argv;
  if (name === 'help' && rest[0] !== undefined) return runProgram(program, [rest[0], '--help'], io);
  if (name === '--help' || name === '-h' || name === 'help') return say(io, usageOf(program, io.columns));
  if (name === '--version' || name === '-v' || name === 'version')
    return say(io, `${program.name} ${program.version}\n`);
  if (name === 'completion') return say(io, completionOf(program));
  const command = Object.hasOwn(program.commands, name) ? program.commands[name] : undefined;
  if (command === undefined) {
    const known = [...Object.keys(program.commands), 'completion'];
    return misused(io, `unknown command "${name}"${meant(name, known)}`, program.name);
  }
  return runCommand(program.name, { called: name, command }, rest, io);
}

/** A program that is one command. */
export interface Single extends Pick<Program, 'name' | 'version'> {
  readonly command: Command;
}

/** As `runProgram`, for a program that is one command. */
export async function runSingle(program: Single, argv: readonly string[], io: Io): Promise<ExitStatus> {
  const { name, version, command } = program;
  if (argv[0] === '--version' || argv[0] === '-v') return say(io, `${name} ${version}\n`);
  return runCommand(name, { called: '', command }, argv, io);
}

async function runCommand(
  program: string,
  { called, command }: { readonly called: string; readonly command: Command },
  rest: readonly string[],
  io: Io,
): Promise<ExitStatus> {
  if (rest.includes('--help') || rest.includes('-h'))
    return say(io, commandUsage({ name: program }, called, command, io.columns));
  try {
    return await command.run({ ...parse(command, rest), env: io.env }, io);
  } catch (error) {
    if (error instanceof MisuseError) return misused(io, error.message, `${program} ${called}`.trim());
    const { reason } = io.signal;
    if (reason instanceof Interrupted && isOf(reason, error)) return reason.status;
    // What the file system refuses is the machine's state and not a bug: no stack.
    const says = isRefusal(error) ? error.message : systemSentenceWithPath(error);
    if (says === undefined) throw error;
    io.err(`${program}: ${says}\n`);
    // A config that cannot be read is a misuse of the program, as an unknown flag is.
    return isRefusal(error, 'config') ? 2 : 1;
  }
}

/** What a command that is ended throws: the reason, or what it was waiting for in whose words. */
const isOf = (reason: Interrupted, error: unknown): boolean =>
  error === reason || isRefusal(error) || (error instanceof Error && error.name === 'AbortError');

function parse(command: Command, rest: readonly string[]): Invocation {
  try {
    const options = { help: { type: 'boolean' }, ...command.flags } as const;
    const { values, positionals } = parseArgs({
      args: [...rest],
      options,
      allowPositionals: true,
      strict: true,
    });
    if (positionals.length > 0 && command.positionals === undefined)
      throw new MisuseError(noArgument(positionals[0] ?? '', command));
    const read: Readonly<Record<string, unknown>> = values;
    const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined);
    return {
      positionals,
      text: (flag) => textOf(read[flag]),
      texts: (flag) => [read[flag] ?? []].flat().flatMap((value) => textOf(value) ?? []),
      has: (flag) => read[flag] === true,
    };
  } catch (error) {
    throw error instanceof MisuseError ? error : new MisuseError(whyMisused(error, command));
  }
}

function noArgument(given: string, { flags }: Command): string {
  const says = `"${given}" is not an argument of this command`;
  return flags['file']?.short === 'f' ? `${says}; did you mean -f ${given}?` : says;
}

/** node:util's own sentence, or for a flag that is not there ours: its advice is about positional arguments. */
function whyMisused(error: unknown, { flags }: Command): string {
  const says = error instanceof Error ? error.message : String(error);
  const [, flag] = /^Unknown option '(-[^']*)'/.exec(says) ?? [];
  if (flag === undefined) return says;
  const known = [...Object.keys(flags), 'help'].map((name) => `--${name}`);
  return `unknown flag ${flag}${meant(flag, known)}`;
}

/** Empty if none is near. */
export function meant(word: string, known: readonly string[]): string {
  const found = known.includes(word) ? undefined : nearest(word, known);
  return found === undefined ? '' : `; did you mean ${found}?`;
}

function say(io: Io, text: string): ExitStatus {
  io.out(text);
  return 0;
}

/** The sentence stays on the screen: the usage, which is long, is a command away. */
function misused(io: Io, why: string, command: string): ExitStatus {
  io.err(`${why}\nsee ${command} --help\n`);
  return 2;
}

/** The text of `--help`: all commands, wrapped to `width` columns. */
export function usageOf(program: Program, width?: number): string {
  const rows = Object.entries(program.commands).map(([name, { says }]) => [name, says] as const);
  const all = [...rows, ['completion', 'Prints a completion script for bash: source it.'] as const];
  const usage = `usage: ${program.name} COMMAND [flags]`;
  return `${program.name}: ${program.says}\n\n${usage}\n\n${twoColumns(all, width)}\n\nEvery command takes --help.\n`;
}

/** The text of `COMMAND --help`: its flags, wrapped to `width` columns. */
export function commandUsage(
  program: Pick<Program, 'name'>,
  name: string,
  command: Command,
  width?: number,
): string {
  const rows = Object.entries(command.flags).map(([flag, { says, value, short }]) => {
    const left = `${short === undefined ? '' : `-${short}, `}--${flag}${value === undefined ? '' : ` ${value}`}`;
    return [left, says] as const;
  });
  const takes = [command.positionals, rows.length > 0 ? '[flags]' : undefined].filter(
    (part) => part !== undefined,
  );
  const flags = rows.length > 0 ? `\n\n${twoColumns(rows, width)}` : '';
  const words = [program.name, name, ...takes].filter((word) => word !== '');
  return `usage: ${words.join(' ')}\n\n${command.says}${flags}\n`;
}

/** Two columns; the right one is wrapped, below the left one where the terminal is too narrow for both. */
export function twoColumns(
  rows: readonly (readonly [string, string])[],
  width = Number.POSITIVE_INFINITY,
): string {
  const left = Math.max(...rows.map(([name]) => name.length));
  const beside = width - left - 4 >= MIN_TEXT;
  const indent = beside ? left + 4 : 6;
  return rows
    .map(([name, says]) => {
      const text = wrapped(says, Math.max(width - indent, MIN_TEXT)).join(`\n${' '.repeat(indent)}`);
      return beside ? `  ${name.padEnd(left)}  ${text}` : `  ${name}\n${' '.repeat(indent)}${text}`;
    })
    .join('\n');
}

/** Narrower text is no easier to read. */
const MIN_TEXT = 24;

/** Lines of words; a word that is longer than a line has one to itself. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

const flagsOf = (flags: Command['flags']): readonly string[] =>
  ['help', ...Object.keys(flags)].map((flag) => `--${flag}`);

/** Commands, then each command's words and flags. */
function completionOf(program: Program): string {
  const fn = `_${program.name.replaceAll('-', '_')}`;
  const cases = Object.entries(program.commands)
    .map(
      ([name, { flags, words = [] }]) => `    ${name}) words="${[...words, ...flagsOf(flags)].join(' ')}" ;;`,
    )
    .join('\n');
  const names = [...Object.keys(program.commands), 'completion'].join(' ');
  return `${fn}() {
  local words
  case "\${COMP_WORDS[1]}" in
${cases}
    *) words="${names}" ;;
  esac
  [ "$COMP_CWORD" -gt 1 ] || words="${names}"
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
  [ "\${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F ${fn} ${program.name}
`;
}
