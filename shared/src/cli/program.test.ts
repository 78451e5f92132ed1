import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { IdentityError, type Refusal } from '../ground/errors.ts';
import {
  type Command,
  Interrupted,
  type Invocation,
  MisuseError,
  type Program,
  runProgram,
} from './program.ts';

let seen: Invocation | undefined;
const throwing = (error: Error): Command => ({ says: 'Fails.', flags: {}, run: () => Promise.reject(error) });
const refusing = (code: Refusal) => throwing(new IdentityError(code, 'it is so'));
const program: Program = {
  name: 'chancery-x',
  says: 'does things',
  version: '1.2.3',
  commands: {
    go: {
      says: 'Goes.',
      positionals: 'NAME',
      flags: {
        fast: { type: 'boolean', short: 'f', says: 'At once.' },
        to: { type: 'string', value: 'PLACE', says: 'Where.' },
        via: { type: 'string', multiple: true, value: 'PLACE', says: 'Repeatable.' },
      },
      run: async (invocation) => {
        seen = invocation;
        return 0;
      },
    },
    no: { says: 'Says no.', flags: {}, run: async () => 1 },
    refused: refusing('svid'),
    config: refusing('config'),
    misused: throwing(new MisuseError('--to is required')),
    bug: throwing(new TypeError('a bug')),
  },
};

let columns: number | undefined;
async function run(...argv: readonly string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const io = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    env: {},
    signal: new AbortController().signal,
    input: async () => '',
    isTerminal: false,
    columns,
  };
  const status = await runProgram(program, argv, io);
  return { status, out: out.join(''), err: err.join('') };
}

test('a command gets its flags and positionals', async () => {
  expect((await run('go', 'home', '-f', '--via', 'a', '--via=b', 'now')).status).toBe(0);
  expect(seen?.positionals).toEqual(['home', 'now']);
  expect([seen?.has('fast'), seen?.has('slow'), seen?.has('to')]).toEqual([true, false, false]);
  expect([seen?.text('to'), seen?.text('fast'), seen?.texts('to'), seen?.texts('via')]).toEqual([
    undefined,
    undefined,
    [],
    ['a', 'b'],
  ]);
  await run('go', '--to', 'x', '--', '-x');
  expect([seen?.text('to'), seen?.positionals]).toEqual(['x', ['-x']]);
});

describe('a command that a signal ends', () => {
  const ended = (error: Error, reason: Error | undefined) => {
    const [stop, err] = [new AbortController(), [] as string[]];
    if (reason !== undefined) stop.abort(reason);
    const io = {
      out() {},
      err: (text: string) => void err.push(text),
      env: {},
      signal: stop.signal,
      input: async () => '',
      isTerminal: false,
    };
    const commands = { go: throwing(error) };
    return runProgram({ ...program, commands }, ['go'], io).then((status) => ({ status, err: err.join('') }));
  };
  const interrupted = new Interrupted('SIGINT');
  const aborted = Object.assign(new Error('it was aborted'), { name: 'AbortError' });

  test.each<[string, Error, Error, number]>([
    ['the reason', interrupted, interrupted, 130],
    ['what it waited for', aborted, new Interrupted('SIGTERM'), 143],
    ['a refusal', new IdentityError('unavailable', 'cancelled'), interrupted, 130],
  ])('prints nothing for %s, and exits as the signal says', async (_, error, reason, status) => {
    expect(await ended(error, reason)).toEqual({ status, err: '' });
  });

  test('does not hide a bug, nor an abort that nobody asked for', async () => {
    await expect(ended(new TypeError('a bug'), interrupted)).rejects.toThrow('a bug');
    await expect(ended(aborted, undefined)).rejects.toThrow('it was aborted');
  });
});

describe('exit status', () => {
  test.each<[string, readonly string[], number, string]>([
    ['0 for a command that is done', ['go'], 0, ''],
    ['1 for a command that says so', ['no'], 1, ''],
    ['1 for a refusal, with its detail', ['refused'], 1, 'chancery-x: it is so\n'],
    ['2 for a config that is refused', ['config'], 2, 'chancery-x: it is so\n'],
    [
      '2 for a misuse, with the way to the command’s usage',
      ['misused'],
      2,
      '--to is required\nsee chancery-x misused --help\n',
    ],
  ])('is %s', async (_, argv, status, err) => {
    expect(await run(...argv)).toEqual({ status, out: '', err });
  });

  test.each([
    ['an unknown command', ['stop'], /^unknown command "stop"\nsee chancery-x --help\n$/],
    ['what every object inherits', ['toString'], /^unknown command "toString"/],
    ['a prototype', ['__proto__'], /^unknown command "__proto__"/],
    ['a flag for a command', ['--fast'], /^unknown command "--fast"/],
    ['nothing as a command', [''], /^unknown command ""/],
    ['an unknown flag', ['go', '--slow'], /^unknown flag --slow\nsee chancery-x go --help\n$/],
    ['an inherited flag', ['go', '--constructor', 'x'], /^unknown flag --constructor\n/],
    ['a value for a boolean', ['go', '--fast=yes'], /does not take an argument/],
    ['a flag without its value', ['go', '--to'], /argument missing/],
    [
      'a positional where none is taken',
      ['no', 'way'],
      /^"way" is not an argument of this command\nsee chancery-x no --help\n$/,
    ],
  ])('is 2 for %s', async (_, argv, err) => {
    const ran = await run(...argv);
    expect(ran).toEqual({ status: 2, out: '', err: expect.stringMatching(err) });
    expect(ran.err).not.toMatch(/^ +at /m);
  });

  test('is a crash for a bug', () => expect(run('bug')).rejects.toThrow(TypeError));
});

describe('usage', () => {
  const usage = `chancery-x: does things

usage: chancery-x COMMAND [flags]

  go          Goes.
  no          Says no.
  refused     Fails.
  config      Fails.
  misused     Fails.
  bug         Fails.
  completion  Prints a completion script for bash: source it.

Every command takes --help.
`;
  test.each([[[]], [['--help']], [['-h']], [['help']]])('of the program: %j', async (argv) => {
    expect(await run(...argv)).toEqual({ status: 0, out: usage, err: '' });
  });

  test.each([[['go', '--help']], [['help', 'go']], [['go', '-h']], [['go', '--to', 'x', '--help']]])(
    'of a command: %j',
    async (argv) => {
      const out = `usage: chancery-x go NAME [flags]

Goes.

  -f, --fast   At once.
  --to PLACE   Where.
  --via PLACE  Repeatable.
`;
      expect(await run(...argv)).toEqual({ status: 0, out, err: '' });
    },
  );

  test.each(['--version', '-v', 'version'])('version: %s', async (flag) => {
    expect(await run(flag)).toEqual({ status: 0, out: 'chancery-x 1.2.3\n', err: '' });
  });
});

describe('completion in bash', () => {
  /** What bash offers for the last word. */
  async function offered(...words: readonly string[]): Promise<readonly string[]> {
    const { out: script } = await run('completion');
    const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _chancery_x; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const out = execFileSync('bash', ['-c', `${script}\n${ask}`, 'bash', 'chancery-x', ...words], {
      cwd: '/proc/self/fdinfo',
    });
    return out
      .toString()
      .split('\n')
      .filter((word) => word !== '');
  }

  test('is a script that bash can read', async () => {
    const { out, status } = await run('completion');
    execFileSync('bash', ['-n'], { input: out });
    expect(status).toBe(0);
  });

  test.each([
    ['commands', ['g'], ['go']],
    ['every command', [''], ['go', 'no', 'refused', 'config', 'misused', 'bug', 'completion']],
    ['a command’s flags', ['go', '--'], ['--help', '--fast', '--to', '--via']],
    ['one of them', ['go', '--t'], ['--to']],
    ['no other command’s', ['no', '--'], ['--help']],
    ['nothing', ['go', 'zzz'], []],
  ])('offers %s', async (_, words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });
});

test.each([
  [['og'], /^unknown command "og"; did you mean go\?\n/],
  [['quite-other'], /^unknown command "quite-other"\n/],
  [['go', '--fsat'], /^unknown flag --fsat; did you mean --fast\?\nsee chancery-x go --help\n$/],
  [['go', '--none-such'], /^unknown flag --none-such\nsee chancery-x go --help\n$/],
  [['go', '-x'], /^unknown flag -x\nsee chancery-x go --help\n$/],
])('what is mistyped as %j is answered with what is near', async (argv, err) => {
  expect(await run(...argv)).toMatchObject({ status: 2, err: expect.stringMatching(err) });
});

test.each([40, 34, 80])('usage fits %i columns', async (width) => {
  columns = width;
  const { out } = await run('go', '--help');
  columns = undefined;
  const long = out.split('\n').filter((line) => line.length > width);
  expect(long).toEqual([]);
  expect(out.replaceAll(/\s+/g, ' ')).toBe((await run('go', '--help')).out.replaceAll(/\s+/g, ' '));
});
