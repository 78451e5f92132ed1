import type { Invocation } from '@chancery/shared/cli/program.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { configFile, printJson, printTable, printUnacknowledged } from './flags.ts';

function printed(print: (io: { out(text: string): void; columns?: number }) => void, columns?: number) {
  const out: string[] = [];
  print({ out: (text) => void out.push(text), ...(columns === undefined ? {} : { columns }) });
  return out.join('');
}

test('times in JSON are RFC 3339, and other numbers are numbers', () => {
  const value = { number: 7n, at: 1_780_315_200n, until: 0n, certificates: 0n };
  expect(JSON.parse(printed((io) => printJson(io as never, value)))).toEqual({
    number: 7,
    at: '2026-06-01T12:00:00.000Z',
    until: null,
    certificates: 0,
  });
});

const rows = [
  ['1', 'spiffe://prod.example/agents/triage'],
  ['2', 'short'],
];
const table = (io: { out(text: string): void }) => printTable(io, ['N', 'SPIFFE ID'], rows);

test('a table that fits the terminal has its columns', () => {
  const wide = 'N  SPIFFE ID\n1  spiffe://prod.example/agents/triage\n2  short\n';
  expect(printed(table)).toBe(wide);
  expect(printed(table, 38)).toBe(wide);
});

test('one that does not has a cell a line, and nothing is cut off', () => {
  expect(printed(table, 37)).toBe(
    'N          1\nSPIFFE ID  spiffe://prod.example/agents/triage\n\nN          2\nSPIFFE ID  short\n',
  );
  expect(printed((io) => printTable(io, ['N', 'SPIFFE ID'], []), 3)).toBe('N  SPIFFE ID\n');
});

describe('without --config', () => {
  const invocation = { text: () => undefined } as unknown as Invocation;

  test('a folder without a config is refused with what was looked for', () => {
    expect(() => configFile(invocation)).toThrow(
      refusal(
        'config',
        /^neither \.\/ca\.yaml nor \/etc\/chancery\/ca\.yaml is there; name one with --config$/,
      ),
    );
    expect(() => configFile(invocation, ', or make one')).toThrow(/--config, or make one$/);
  });
});

test.each([
  [0n, [], ''],
  [1n, [], '1 connected agent has not acknowledged it yet\n'],
  [3n, [], '3 connected agents have not acknowledged it yet\n'],
  [1n, ['spiffe://a/b (tpm/n)'], '1 connected agent has not acknowledged it yet:\n  spiffe://a/b (tpm/n)\n'],
  [
    3n,
    ['spiffe://a/b (tpm/\n)'],
    '3 connected agents have not acknowledged it yet:\n  spiffe://a/b (tpm/\\u000a)\n  and 2 more: chancery-ca agents\n',
  ],
])('%i connected agents that have not acknowledged a change are named: %j', (connected, names, says) => {
  const behind = { connected, names, away: 0n, awayAtLeast: false };
  expect(printed((io) => printUnacknowledged({ ...io, err: () => {} }, behind))).toBe(says);
});
