import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { expect, test } from 'vitest';
import { badAnswer, unreachable } from './upstream.ts';

const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5'), { code: 'ECONNREFUSED' });
const ACTED = '; it may have done what was asked';

test.each<[string, unknown, string]>([
  [
    'its size',
    new IdentityError('mcp_size', 'x'),
    `the answer of the MCP server was larger than 16 MiB${ACTED}`,
  ],
  [
    'what it is',
    new IdentityError('mcp_parse', 'not JSON'),
    `the answer of the MCP server could not be read: not JSON${ACTED}`,
  ],
  [
    'its connection',
    refused,
    `the MCP server was reached but did not answer: the connection was refused (ECONNREFUSED)${ACTED}`,
  ],
])('an answer is the fault of its server for %s', (_name, cause, message) => {
  expect(badAnswer(cause)).toMatchObject({ code: 'mcp_outcome', message, cause });
});

test.each(['mcp_upstream', 'mcp_outcome'] as const)(
  'what is known of the server already stays as it is: %s',
  (code) => {
    const known = new IdentityError(code, 'no answer');
    expect(badAnswer(known)).toBe(known);
  },
);

test('a server that was not reached has not acted', () => {
  const message = 'the MCP server could not be reached: the connection was refused (ECONNREFUSED)';
  expect(unreachable(refused)).toMatchObject({ code: 'mcp_upstream', message, cause: refused });
});
