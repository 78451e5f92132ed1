import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { expect, test } from 'vitest';
import type { Dialler } from '../dial.ts';
import { Exchanges } from './exchange.ts';

test('an answer is not fetched while its client has others to read', async () => {
  const body = new PassThrough();
  body.end('{"jsonrpc":"2.0","id":1,"result":{}}');
  const headers = { 'content-type': 'application/json' };
  const response = Object.assign(body, { statusCode: 200, headers, complete: true });
  const written: Message[] = [];
  let [full, resume] = [true, (): void => {}];
  const exchanges = new Exchanges({
    dialler: {
      send: (_posted, { onResponse }) => {
        onResponse(response as unknown as IncomingMessage);
        return () => {};
      },
    } as Dialler,
    clock: systemClock,
    log: silentLog,
    write: (message) => written.push(message) > 0,
    onDrain: (listener) => {
      resume = listener;
    },
    full: () => full,
  });
  const params = { name: 'large' };
  const sent = exchanges.send({ kind: 'request', id: 1, method: 'tools/call', params });
  await setImmediate();
  expect([body.readableFlowing, written]).toEqual([null, []]);
  full = false;
  resume();
  await sent;
  expect(written).toEqual([expect.objectContaining({ id: 1, result: {} })]);
});
