/** MCP's messages: read, judged and narrowed. */
import { READERS } from '@chancery/agent/mcp/gateway/judge/readers.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensureModern, eraOf, headersFor } from '@chancery/shared/mcp/era.ts';
import { filterList } from '@chancery/shared/mcp/lists.ts';
import { type Message, readMessage, writeMessage } from '@chancery/shared/mcp/message.ts';
import { narrowServer } from '@chancery/shared/mcp/results.ts';
import { law, type Target } from '../../engine.ts';

const MAX_BYTES = 64 * 1024;

const MODERN = {
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': { roots: {} },
  },
};
const MESSAGES: readonly object[] = [
  { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'query', arguments: { sql: 'select 1' } } },
  { jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'é query', arguments: {}, ...MODERN } },
  { jsonrpc: '2.0', id: 2, method: 'resources/read', params: { uri: 'file:///a b', ...MODERN } },
  {
    jsonrpc: '2.0',
    id: 3,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: { sampling: {} } },
  },
  { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } },
  {
    jsonrpc: '2.0',
    id: 1,
    result: {
      tools: [{ name: 'query', inputSchema: { type: 'object' } }],
      ttlMs: 5,
      capabilities: { tools: {}, logging: {} },
    },
  },
  { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'no', data: [1] } },
];

const message: Target = {
  name: 'mcp-message',
  says: 'MCP messages: read, judged, narrowed, written and read again',
  shape: 'json',
  open: () => ({
    seeds: MESSAGES.map((each) => utf8(JSON.stringify(each))),
    run: (input) => {
      const read = readMessage(input, MAX_BYTES);
      const written = writeMessage(read);
      law(
        writeMessage(readMessage(utf8(written), MAX_BYTES * 6)) === written,
        'it is another message when it is read again',
      );
      lookInto(read);
      return undefined;
    },
  }),
};

const ALL = { instructions: true, logs: true };

function lookInto(read: Message): void {
  const headers = headersFor(read);
  const own = {
    version: headers['mcp-protocol-version'],
    method: headers['mcp-method'],
    name: headers['mcp-name'],
  };
  law(
    eraOf(read, own.version) === 'legacy' || own.version !== undefined,
    'a modern message has headers without a version',
  );
  if (read.kind === 'response' && read.result !== undefined) {
    narrowServer(read.result, { era: 'legacy', free: ALL, lets: () => true });
    if (read.result['tools'] !== undefined)
      filterList('tools/list', read.result, (tool) => tool.startsWith('q'));
  }
  if (own.version !== undefined) ensureModern(read, own);
  if (read.kind !== 'request') return;
  for (const era of ['legacy', 'modern'] as const) {
    const reading = READERS.get(read.method)?.(read, { era, freeText: ALL });
    if (reading !== undefined) writeMessage(reading.forwarded);
  }
}

export const MCP_MESSAGES: readonly Target[] = [message];
