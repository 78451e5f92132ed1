import { expect, test } from 'vitest';
import { utf8 } from '../../ground/bytes.ts';
import type { JsonObject } from '../../ground/json.ts';
import { parseJson } from '../../ground/json.ts';
import { compileToolPattern } from '../patterns/tool.ts';
import { compilePolicy } from '../policy.ts';
import { argumentAt, ClearField, clearFieldsOf, MAX_CLEAR_FIELDS } from './clear.ts';
import { McpServer } from './server.ts';

const TEXT =
  '{"repo":"acme/x","n":12345678901234567890,"e":1e3,"yes":true,"no":null,"empty":"",' +
  '"list":["a",["b"],{"c":"d"}],"deep":{"er":{"x":"y"},"a/b":"slash","m~n":"tilde","~1":"odd"},"toString":"own"}';
const limits = { code: 'mcp_parse', maxBytes: 4096, maxDepth: 8, spelledFrom: 0 } as const;
const given = parseJson(utf8(TEXT), limits) as JsonObject;

test.each<[string, string | undefined]>([
  ['/repo', 'acme/x'],
  ['/n', '12345678901234567890'],
  ['/e', '1e3'],
  ['/yes', 'true'],
  ['/no', 'null'],
  ['/empty', ''],
  ['/list/0', 'a'],
  ['/list/1/0', 'b'],
  ['/list/2/c', 'd'],
  ['/deep/er/x', 'y'],
  ['/deep/a~1b', 'slash'],
  ['/deep/m~0n', 'tilde'],
  ['/deep/~01', 'odd'],
  ['/toString', 'own'],
  ['/list', undefined],
  ['/deep', undefined],
  ['/deep/er', undefined],
  ['/missing', undefined],
  ['/repo/0', undefined],
  ['/repo/length', undefined],
  ['/list/length', undefined],
  ['/list/-', undefined],
  ['/list/00', undefined],
  ['/list/9', undefined],
  ['/deep/toString', undefined],
  ['/__proto__', undefined],
  ['/__proto__/__proto__', undefined],
  ['/constructor/name', undefined],
])('M105 %s is %j: a value, and no object or list', (pointer, text) => {
  expect(argumentAt(given, pointer)).toBe(text);
});

test.each([
  '/repo',
  '/labels/0',
  '/a~1b/m~0n',
  '/',
  '/with space',
  '/page_token',
  '/nextPageToken',
  '/max_tokens',
  '/maxOutputTokens',
  '/token_count',
  '/is_private',
  '/private_repo',
  '/sasha',
  '/keyboard',
  '/key',
  '/issue/key',
  '/pinned',
  '/spin',
  '/session',
  '/pass',
])('%s is a field', (pointer) => {
  expect(ClearField.safeParse(pointer).success).toBe(true);
});

test.each<[string, RegExp]>([
  ['', /JSON Pointer/],
  ['repo', /JSON Pointer/],
  ['$.repo', /JSON Pointer/],
  ['/a~2', /JSON Pointer/],
  ['/a~', /JSON Pointer/],
  ['/a\nb', /JSON Pointer/],
  ['/a\u200bb', /JSON Pointer/],
  [`/${'a'.repeat(128)}`, /at most 128/],
  ['/password', /secret by its name/],
  ['/login/passWord', /secret by its name/],
  ['/clientSecret', /secret by its name/],
  ['/auth/api-key', /secret by its name/],
  ['/token', /secret by its name/],
  ['/headers/Authorization', /secret by its name/],
  ['/secrets/0', /secret by its name/],
  ...[
    ...['/api_token', '/github_token', '/userToken', '/headers/X-API-Token', '/APIToken', '/githubtoken'],
    ...['/tokens/0', '/token/value', '/auth token', '/pwd', '/db_pwd', '/jwt', '/bearer', '/session_id'],
    ...['/mcp-session-id', '/sessionKey', '/otp', '/totp_code', '/pin', '/pin_code', '/dsn', '/sentryDsn'],
    ...[
      '/private',
      '/sas',
      '/blob/sasUrl',
      '/sas_uri',
      '/connection_string',
      '/connectionStr',
      '/AccountKey',
      '/SharedAccessKey',
    ],
  ].map((field): [string, RegExp] => [field, /secret by its name/]),
])('M105 %j is no field that an operator may have in clear', (pointer, says) => {
  expect(ClearField.safeParse(pointer).error?.issues[0]?.message).toMatch(says);
});

const rule = (tools: readonly string[], fields: readonly string[]) => ({
  tools: tools.map(compileToolPattern),
  fields,
});

test('all rules of a tool count, each field once, and no more than a record holds', () => {
  const rules = [rule(['get_*', 'put'], ['/a', '/b']), rule(['*'], ['/b', '/c']), rule(['other'], ['/d'])];
  expect(clearFieldsOf(rules, 'get_x')).toEqual(['/a', '/b', '/c']);
  expect(clearFieldsOf(rules, 'drop')).toEqual(['/b', '/c']);
  expect(clearFieldsOf([rules[0] ?? rule([], [])], 'drop')).toEqual([]);
  const many = Array.from({ length: 40 }, (_, n) => rule(['*'], [`/f${n}`]));
  expect(clearFieldsOf(many, 'x')).toHaveLength(MAX_CLEAR_FIELDS);
});

const server = (clear?: unknown) => ({
  kind: 'McpServer',
  name: 'git',
  identity: 'spiffe://prod.example/git',
  address: 'git.example:443',
  ...(clear === undefined ? {} : { clear }),
});

test('a policy knows the fields of each server and tool, and of no tool with an endless name', () => {
  const policy = compilePolicy([McpServer.parse(server([{ tools: ['*'], fields: ['/a'] }]))], 1n);
  expect(policy.clearFor('git', 'x')).toEqual(['/a']);
  expect(policy.clearFor('git', 'x'.repeat(129))).toEqual([]);
  expect(policy.clearFor('mail', 'x')).toEqual([]);
  expect(compilePolicy([McpServer.parse(server())], 1n).clearFor('git', 'x')).toEqual([]);
});

const fields = (count: number) => Array.from({ length: count }, (_, n) => `/f${n}`);

test.each<[string, unknown]>([
  ['a key that is none', [{ tools: ['*'], fields: ['/a'], when: 'x' }]],
  ['no tool', [{ tools: [], fields: ['/a'] }]],
  ['no field', [{ tools: ['*'], fields: [] }]],
  ['a tool pattern that does not compile', [{ tools: ['/(/'], fields: ['/a'] }]],
  ['a field that is none', [{ tools: ['*'], fields: ['a'] }]],
  ['too many fields', [{ tools: ['*'], fields: fields(17) }]],
  ['too many rules', Array.from({ length: 33 }, () => ({ tools: ['*'], fields: ['/a'] }))],
])('M105 an McpServer with %s is refused', (_, clear) => {
  expect(McpServer.safeParse(server([{ tools: ['*'], fields: fields(16) }])).success).toBe(true);
  expect(McpServer.safeParse(server(clear)).success).toBe(false);
});
