import { describe, expect, test } from 'vitest';
import { utf8 } from '../ground/bytes.ts';
import {
  ensureLegacyMethod,
  ensureLegacyVersion,
  ensureModern,
  eraOf,
  headersFor,
  legacyHeaders,
  type McpHeaders,
  readEra,
} from './era.ts';
import { readMessage } from './message.ts';

const VERSION = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const meta = { [VERSION]: '2026-07-28', [CAPABILITIES]: {} };
const call = (params: object, method = 'tools/call') =>
  readMessage(utf8(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })), 10_000);
const notify = (params?: object) =>
  readMessage(utf8(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params })), 10_000);
const response = readMessage(utf8('{"jsonrpc":"2.0","id":1,"result":{}}'), 1_000);

const echo = call({ name: 'echo', _meta: meta });
const genuine: McpHeaders = { version: '2026-07-28', method: 'tools/call', name: 'echo' };
const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`;

test.each([
  ['a claim', echo, undefined, 'modern'],
  ['a claim of a legacy version', call({ _meta: { [VERSION]: '2025-11-25' } }), undefined, 'modern'],
  ['a modern header', call({}), '2026-07-28', 'modern'],
  ['a header of the future', call({}), '2027-01-01', 'modern'],
  ['a legacy header', call({}), '2025-11-25', 'legacy'],
  ['neither', call({}), undefined, 'legacy'],
  ['a claim that is not a string', call({ _meta: { [VERSION]: 1 } }), undefined, 'legacy'],
  ['a header that is no date', call({}), 'DRAFT-2026', 'legacy'],
  ['a response', response, undefined, 'legacy'],
])('eraOf: %s', (_name, message, header, era) => {
  expect(eraOf(message, header)).toBe(era);
});

test('ensureLegacyVersion knows its versions and none other', () => {
  for (const version of [undefined, '2025-03-26', '2025-11-25']) ensureLegacyVersion(version);
  expect(() => ensureLegacyVersion('2024-01-01')).toThrow(expect.objectContaining({ code: 'mcp_version' }));
});

describe('ensureModern', () => {
  test.each([
    ['a call', echo, genuine],
    ['a name that needs base64', call({ name: 'é', _meta: meta }), { ...genuine, name: base64('é') }],
    ['a name with a space at its end', call({ name: 'a ', _meta: meta }), { ...genuine, name: base64('a ') }],
    [
      'a resource by its uri',
      call({ uri: 'x:y', _meta: meta }, 'resources/read'),
      { ...genuine, method: 'resources/read', name: 'x:y' },
    ],
    [
      'a list with a parameter that has no name',
      call({ '': 'echo', _meta: meta }, 'tools/list'),
      { ...genuine, method: 'tools/list', name: undefined },
    ],
    [
      'a list, without a name',
      call({ _meta: meta }, 'tools/list'),
      { ...genuine, method: 'tools/list', name: undefined },
    ],
    ['a notification without claim', notify(), { version: '2026-07-28', method: undefined, name: undefined }],
  ])('accepts %s', (_name, message, headers) => {
    expect(() => ensureModern(message, headers)).not.toThrow();
  });

  test.each([
    ['a response', response, genuine, 'mcp_parse', /posts no responses/],
    ['no claim', call({ name: 'echo' }), genuine, 'mcp_meta', /lacks .*protocolVersion/],
    [
      'no capabilities',
      call({ name: 'echo', _meta: { [VERSION]: '2026-07-28' } }),
      genuine,
      'mcp_meta',
      /lacks .*clientCapabilities/,
    ],
    [
      'another version',
      call({ name: 'echo', _meta: { ...meta, [VERSION]: '2027-01-01' } }),
      { ...genuine, version: '2027-01-01' },
      'mcp_version',
      /not known/,
    ],
    [
      'a legacy version claimed',
      call({ name: 'echo', _meta: { ...meta, [VERSION]: '2025-11-25' } }),
      { ...genuine, version: '2025-11-25' },
      'mcp_version',
      /not known/,
    ],
    ['no version header', echo, { ...genuine, version: undefined }, 'mcp_headers', /MCP-Protocol-Version/],
    [
      'another version header',
      echo,
      { ...genuine, version: '2025-11-25' },
      'mcp_headers',
      /MCP-Protocol-Version/,
    ],
    [
      'a version header that is known and a claim that is not',
      call({ name: 'echo', _meta: { ...meta, [VERSION]: '2027-01-01' } }),
      genuine,
      'mcp_headers',
      /MCP-Protocol-Version/,
    ],
    ['no method header', echo, { ...genuine, method: undefined }, 'mcp_headers', /Mcp-Method/],
    ['another method header', echo, { ...genuine, method: 'tools/list' }, 'mcp_headers', /Mcp-Method/],
    [
      'a method header in other case',
      echo,
      { ...genuine, method: 'Tools/Call' },
      'mcp_headers',
      /Mcp-Method/,
    ],
    [
      'another method on a notification',
      notify({ _meta: meta }),
      { ...genuine, method: 'tools/call' },
      'mcp_headers',
      /Mcp-Method/,
    ],
    ['no name header', echo, { ...genuine, name: undefined }, 'mcp_headers', /Mcp-Name/],
    ['another name', echo, { ...genuine, name: 'get-env' }, 'mcp_headers', /Mcp-Name/],
    ['base64 of another name', echo, { ...genuine, name: base64('get-env') }, 'mcp_headers', /Mcp-Name/],
    [
      'base64 that is not canonical',
      call({ name: 'é', _meta: meta }),
      { ...genuine, name: '=?base64?w6k?=' },
      'mcp_headers',
      /Mcp-Name/,
    ],
    [
      'base64 of no UTF-8',
      call({ name: '\ufffd', _meta: meta }),
      { ...genuine, name: '=?base64?/w==?=' },
      'mcp_headers',
      /Mcp-Name/,
    ],
    [
      'another uri',
      call({ uri: 'x:y', _meta: meta }, 'resources/read'),
      { ...genuine, method: 'resources/read', name: 'x:z' },
      'mcp_headers',
      /Mcp-Name/,
    ],
    [
      'another prompt',
      call({ name: 'p', _meta: meta }, 'prompts/get'),
      { ...genuine, method: 'prompts/get', name: 'q' },
      'mcp_headers',
      /Mcp-Name/,
    ],
  ])('refuses %s', (...[, message, headers, code, detail]) => {
    expect(() => ensureModern(message, headers)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(detail) }),
    );
  });

  test.each([['echo'], ['é'], [' a'], ['a '], ['=?base64?eA==?='], ['a b'], ['a\nb'], ['😀'.repeat(30)]])(
    'accepts the headers that headersFor makes for %j',
    (name) => {
      const message = call({ name, _meta: meta });
      const made = headersFor(message);
      const headers = {
        version: made['mcp-protocol-version'],
        method: made['mcp-method'],
        name: made['mcp-name'],
      };
      expect(headers.name).toMatch(/^[!-~](?:[ -~]*[!-~])?$/);
      expect(() => ensureModern(message, headers)).not.toThrow();
    },
  );

  test('a legacy message and a response have no such headers', () => {
    expect(headersFor(call({ name: 'echo' }))).toEqual({});
    expect(headersFor(response)).toEqual({});
    expect(headersFor(call({ _meta: meta }, 'tools/list'))).toEqual({
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/list',
    });
  });
});

describe('readEra', () => {
  const bare: McpHeaders = { version: undefined, method: undefined, name: undefined };
  const legacy = { ...bare, version: '2025-11-25' };

  test.each([
    ['a modern call', echo, genuine, 'modern'],
    ['a legacy call', call({}), legacy, 'legacy'],
    ['a legacy call without a version', call({}), bare, 'legacy'],
    ['a legacy request that only the legacy era has', call({}, 'ping'), legacy, 'legacy'],
    ['a notification that no revision has', notify(), bare, 'legacy'],
  ])('%s', (_name, message, headers, era) => {
    expect(readEra(message, headers)).toBe(era);
  });

  test.each([
    ['a modern ping', call({ _meta: meta }, 'ping'), { ...genuine, method: 'ping' }, 'mcp_unknown'],
    ['a modern request that nobody knows, without _meta', call({}, 'x'), genuine, 'mcp_unknown'],
    ['a name of an object', call({}, 'constructor'), genuine, 'mcp_unknown'],
    ['a modern call without _meta', call({ name: 'echo' }), genuine, 'mcp_meta'],
    ['a request of a later revision', call({}, 'x'), { ...bare, version: '2027-01-01' }, 'mcp_meta'],
    ['a legacy call of an unknown version', call({}), { ...bare, version: '2024-01-01' }, 'mcp_version'],
  ])('refuses %s', (_name, message, headers, code) => {
    expect(() => readEra(message, headers)).toThrow(expect.objectContaining({ code }));
  });
});

test('only a legacy client may GET and DELETE', () => {
  for (const version of [undefined, '2024-11-05', '2025-11-25', '2024-01-01']) ensureLegacyMethod(version);
  for (const version of ['2026-07-28', '2027-01-01', 'draft'])
    expect(() => ensureLegacyMethod(version)).toThrow(expect.objectContaining({ code: 'mcp_method' }));
});

test('a legacy message has the version header that its client sent', () => {
  expect(legacyHeaders(undefined)).toEqual({});
  expect(legacyHeaders('2025-11-25')).toEqual({ 'mcp-protocol-version': '2025-11-25' });
});
