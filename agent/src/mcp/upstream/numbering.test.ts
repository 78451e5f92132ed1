import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { readMessage } from '@chancery/shared/mcp/message.ts';
import { expect, test } from 'vitest';
import { progressTokenOf } from './numbering.ts';

test.each([
  ['1.0', 1],
  ['1e3', 1_000],
  ['7', 7],
  ['"a"', 'a'],
  ['9007199254740993', undefined],
  ['{}', undefined],
])('the progress token %s is read as what it means', (text, token) => {
  const body = `{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":${text}}}}`;
  const message = readMessage(utf8(body), 1_000);
  expect(message.kind === 'request' ? progressTokenOf(message) : message).toBe(token);
});
