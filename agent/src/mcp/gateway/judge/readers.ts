/** The requests of a client that can be allowed, by method. */
import { LISTEN, SUBSCRIBE, UNSUBSCRIBE } from '@chancery/shared/mcp/subscription.ts';
import { readCompletion, readListOf, readPrompt, readResource } from './content.ts';
import { readOpen, readSetLevel } from './open.ts';
import type { Reader } from './reader.ts';
import { readListen, readSubscribe, readUnsubscribe } from './subscriptions.ts';
import { readTask, readTasks } from './tasks.ts';
import { readCall } from './tools.ts';

/** Every method that is not here is denied. */
export const READERS: ReadonlyMap<string, Reader> = new Map([
  ['initialize', readOpen],
  ['ping', readOpen],
  ['server/discover', readOpen],
  ['tools/list', readOpen],
  ['tools/call', readCall],
  ['resources/list', readListOf('resource')],
  ['resources/templates/list', readListOf('resource')],
  ['resources/read', readResource],
  ['prompts/list', readListOf('prompt')],
  ['prompts/get', readPrompt],
  ['completion/complete', readCompletion],
  [LISTEN, readListen],
  [SUBSCRIBE, readSubscribe],
  [UNSUBSCRIBE, readUnsubscribe],
  ['tasks/get', readTask],
  ['tasks/result', readTask],
  ['tasks/cancel', readTask],
  ['tasks/list', readTasks],
  ['logging/setLevel', readSetLevel],
]);
