import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { callOf, explainCall } from './explain.ts';
import { readResources } from './resources.ts';

const NOW = new Date('2026-12-01T12:00:00Z');
const CALLER = 'spiffe://prod.example/agents/triage';
const BIG = 'args.n == 9007199254740993 && now > timestamp("2026-12-01T00:00:00Z")';
const access = (name: string, when: string) =>
  JSON.stringify({
    ...{ kind: 'Access', name, who: [CALLER], servers: ['s'], tools: { allow: ['put'] }, when },
  });
const set = await readResources(
  [
    JSON.stringify({ kind: 'McpServer', name: 's', identity: 'spiffe://prod.example/s', address: 'a:1' }),
    access('a', 'source == "192.0.2.1"'),
    access('b', BIG),
  ].map((text, index) => ({ name: `${index}.yaml`, text })),
  { trustDomain: parseTrustDomain('prod.example'), platforms: new Set(), version: 1 },
);
const call = (given: string) => callOf({ caller: CALLER, server: 's', tool: 'put', arguments: given });

describe('explains what each condition about the tool gives', () => {
  test.each([
    ['{"n": 9007199254740993}', true, /^b lets/, 'is true'],
    ['{"n": 9007199254740992}', false, /; the condition of b is not met$/, 'is false'],
    ['{}', false, /; the condition of b cannot be decided/, 'cannot be decided: field not found: n'],
    ['', false, /; the condition of b cannot be decided/, 'cannot be decided: args is not known'],
  ])('for arguments %s', (given, allow, reason, says) => {
    const explained = explainCall(set, call(given), NOW);
    expect(explained.allow).toBe(allow);
    expect(explained.lines).toEqual([
      expect.stringMatching(reason),
      'a: when (source == "192.0.2.1") cannot be decided: source is not known',
      `b: when (${BIG}) ${says}`,
    ]);
  });
});

test.each([
  ['[]', 'the arguments of a call are a JSON object'],
  ['{"n": 1, "n": 2}', 'the same key twice'],
  ['{', 'a key is expected'],
])('refuses arguments %s', (given, says) => {
  expect(() => call(given)).toThrow(says);
});
