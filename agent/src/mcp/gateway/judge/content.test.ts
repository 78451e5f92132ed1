import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Request } from '@chancery/shared/mcp/message.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { TOOLS, TRIAGE } from '../../../../../test/kit/mcp/world/world.ts';
import { judge } from './judge.ts';

const HELD = { uris: new Set<string>(), left: 9 };
const NO_TASKS = { toolOf: () => undefined, isFull: false };

const server = McpServer.parse({ kind: 'McpServer', name: 'notes', identity: TOOLS, address: 'notes:1' });
const access = Access.parse({
  kind: 'Access',
  name: 'reads',
  who: [TRIAGE],
  servers: ['notes'],
  resources: { allow: ['repo://{owner}/x'] },
  prompts: { allow: ['greet'] },
  completion: { allow: ['*'], deny: ['repo://{owner}/y'] },
});
const policy = compilePolicy([server, access], 1n);
const entered = { allow: true, rule: 'reads', reason: 'entered' } as const;
const key = 'io.modelcontextprotocol/clientCapabilities';

function verdict(method: string, params: JsonObject) {
  const message: Request = { kind: 'request', id: 1, method, params };
  const where = {
    caller: TRIAGE,
    server: 'notes',
    now: NOW,
    session: undefined,
    held: HELD,
    tasks: NO_TASKS,
  };
  const freeText = { instructions: true, logs: true };
  return judge(policy, { ...where, era: 'modern', freeText }, entered, message);
}

const argument = { name: 'a', value: 'b' };
const prompt = (name: string) => ({ ref: { type: 'ref/prompt', name }, argument });
const template = (uri: string) => ({ ref: { type: 'ref/resource', uri }, argument });

test.each<[string, JsonObject, allow: boolean, RegExp]>([
  ['resources/list', { cursor: 'c' }, true, /^reads lets .* list resources of server notes$/],
  ['resources/templates/list', {}, true, /list resources/],
  ['prompts/list', {}, true, /list prompts/],
  ['resources/read', { uri: 'repo://acme/x' }, true, /read resource repo:\/\/acme\/x of server notes: repo/],
  ['resources/read', { uri: 'repo://acme/y' }, false, /^no Access rule lets .* read resource/],
  ['prompts/get', { name: 'greet', arguments: { a: 'b' } }, true, /get prompt greet/],
  ['prompts/get', { name: 'plan' }, false, /^no Access rule lets .* get prompt plan/],
  ['completion/complete', prompt('greet'), true, /complete arguments of greet/],
  ['completion/complete', prompt('plan'), false, /^no Access rule lets .* use prompt plan of server notes$/],
  ['completion/complete', template('repo://{owner}/{name}'), true, /complete arguments of repo/],
  ['completion/complete', template('repo://{owner}/y'), false, /reads does not let/],
  ['completion/complete', template('file:///{path}'), false, /use template file/],
])('%s %j: %s', (method, params, allow, reason) => {
  const { decision, forwarded } = verdict(method, { ...params, _meta: { [key]: { sampling: {} }, x: 1 } });
  expect(decision).toMatchObject({ allow, reason: expect.stringMatching(reason) });
  expect(forwarded).toEqual({
    kind: 'request',
    id: 1,
    method,
    params: { ...params, _meta: { [key]: {}, x: 1 } },
  });
});

test('what is used is recorded by kind and name, with its arguments', () => {
  expect(verdict('resources/read', { uri: 'repo://acme/x' }).use).toEqual({
    kind: 'resource',
    name: 'repo://acme/x',
    arguments: {},
  });
  expect(verdict('prompts/get', { name: 'greet', arguments: { a: 'b' } }).use).toEqual({
    kind: 'prompt',
    name: 'greet',
    arguments: { a: 'b' },
  });
  expect(verdict('completion/complete', prompt('greet')).use).toMatchObject({
    kind: 'completion',
    of: 'prompt',
    name: 'greet',
  });
  expect(verdict('prompts/list', {}).use).toBeUndefined();
});
