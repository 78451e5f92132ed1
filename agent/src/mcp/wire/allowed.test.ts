import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { readAllowed, readAsked, writeAllowed, writeAsked } from './allowed.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

test('a question is read as it was written', () => {
  expect(readAsked(bytes(writeAsked(['a', 'b'])))).toEqual(['a', 'b']);
});

describe('an answer', () => {
  const no = { tool: 'b', may: 'no', reason: 'why', rule: 'r' } as const;
  const told = { any: true, tools: [{ tool: 'a', may: 'yes' } as const, no] };

  test('is read as it was written', () => {
    expect(readAllowed(bytes(writeAllowed(told)), ['a', 'b'])).toEqual(told);
  });

  test.each([
    ['[]', /does not say which/],
    ['{"any":1,"tools":[]}', /does not say which/],
    ['{"any":true,"tools":[{"tool":"a","may":"yes"}]}', /does not say which/],
    ['{"any":true,"tools":[{"tool":"b","may":"yes"},{"tool":"a","may":"yes"}]}', /another question/],
    ['{"any":true,"tools":[{"tool":"a","may":true},{"tool":"b","may":"yes"}]}', /another question/],
    ['{"any":true,"tools":["a","b"]}', /another question/],
  ])('%s is none', (text, says) => {
    expect(() => readAllowed(bytes(text), ['a', 'b'])).toThrow(refusal('mcp_parse', says));
  });
});
