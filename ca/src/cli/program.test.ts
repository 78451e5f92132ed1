/** What every command has. */
import { randomBytes } from 'node:crypto';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { caProgram } from './program.ts';

const deps = { clock: new ManualClock(NOW), random: randomBytes, ownUid: 0, logAt: () => silentLog };
const { commands } = caProgram(deps, '1');
const lacking = (flag: string, names = Object.keys(commands)): readonly string[] =>
  names.filter((name) => !Object.hasOwn(commands[name]?.flags ?? {}, flag)).toSorted();

test('every command prints JSON, but one that serves and those whose output has a form of its own', () => {
  // `get --json` has what `export` prints, and `bundle --format spiffe` is JSON.
  expect(lacking('json')).toEqual(['bundle', 'export', 'serve']);
});

test('every command that changes something says before what it would do', () => {
  const reading = [
    'agents',
    'audit',
    'bundle',
    'check',
    'explain',
    'export',
    'get',
    'issued',
    'reach',
    'revocations',
  ];
  const changing = Object.keys(commands).filter((name) => !reading.includes(name));
  // Without --yes `accept-loss` changes nothing; a sign-in is the operator's own, and made at the issuer.
  expect(lacking('dry-run', changing)).toEqual(['accept-loss', 'login', 'serve']);
});

test('what cannot be taken back needs a word more', () => {
  expect(lacking('yes', ['accept-loss', 'ceremony', 'restore', 'rotate', 'taint'])).toEqual([]);
});
