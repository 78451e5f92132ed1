import type { Rotation } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { expect, test } from 'vitest';
import { NO_STANDBY } from '../../serving/concerns.ts';
import { operatorsText, printRotation } from './text.ts';

const said = (keyHome: string, ...states: readonly string[]): string => {
  const lines: string[] = [];
  const out = (text: string) => void lines.push(text);
  const roots = states.map((state) => ({
    ...{ serial: '40aa', state, keyHome, algorithm: 'ecdsa-p256', movedAt: 0n, notAfter: 0n },
    ...{ crossUntil: 0n },
  }));
  const lists = {
    waits: [],
    stragglers: [],
    unheard: [],
    chained: [],
    above: [],
    warnings: [],
    leftBehind: [],
  };
  const rotation = { ...lists, roots, stage: 'idle', next: 'prepare', kind: '', made: '', endedAt: 0n };
  printRotation({ out, err: () => {}, columns: 120 }, rotation as unknown as Rotation);
  return lines.join('');
};

test.each(['file', 'offline', 'pkcs11'])(
  'that no root stands by is said in the words of check: key in %s',
  (home) => {
    expect(said(home, 'active')).toContain(`\n${NO_STANDBY}\n`);
    expect(said(home, 'active', 'standby')).not.toContain('stands by');
  },
);

test('nobody is told to wait for the end of a stolen root', () => {
  expect(operatorsText('root')).toMatch(/signed in anew with a carried bundle\n$/);
  expect(operatorsText('intermediate')).toMatch(/, or the stolen intermediate has ended\n$/);
});

test('a standby key on this machine, and who was left behind, are printed', () => {
  const lines: string[] = [];
  const lists = { waits: [], stragglers: [], unheard: [], chained: [], above: [], roots: [] };
  const told = {
    warnings: ['the key of root 40bb is here'],
    leftBehind: ['spiffe://x/y, 2 certificates\u001b'],
  };
  const rotation = { ...lists, ...told, stage: 'retiring', next: 'remove', kind: 'jwt', made: 'activate' };
  printRotation({ out: (text) => void lines.push(text), err: () => {}, columns: 120 }, rotation as never);
  expect(lines.join('')).toMatch(/^made: .*\nleft behind: spiffe:\/\/x\/y, 2 certificates\\u001b\n/);
  expect(lines.join('')).toContain('\nthe key of root 40bb is here\n');
});
