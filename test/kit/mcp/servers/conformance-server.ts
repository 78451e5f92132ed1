/** MCP servers for the official conformance suite, made with the official SDKs, one for each era. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import {
  type CallToolResult,
  createMcpHandler,
  McpServer,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import {
  ASKING_PROMPT,
  answerPrompt,
  askThenAnswer,
  LEGACY_ASKING,
  MODERN_ASKING,
  type Round,
  verifyState,
} from './conformance-asking.ts';
import { type Asked, CONTENT, CONTENT_CAPABILITIES } from './conformance-content.ts';
import { EventsInOrder } from './event-store.ts';

export interface Serving {
  readonly url: URL;
  stop(): Promise<void>;
}

const text = (value: string) => ({ type: 'text' as const, text: value });
const image = { type: 'image' as const, data: 'iVBORw0KGgo=', mimeType: 'image/png' };
const resource = (uri: string, mimeType: string, value: string) => ({
  type: 'resource' as const,
  resource: { uri, mimeType, text: value },
});
const RESULTS = {
  test_simple_text: { content: [text('This is a simple text response for testing.')] },
  test_image_content: { content: [image] },
  test_audio_content: { content: [{ type: 'audio' as const, data: 'UklGRg==', mimeType: 'audio/wav' }] },
  test_embedded_resource: {
    content: [resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')],
  },
  test_multiple_content_types: {
    content: [
      text('Multiple content types test:'),
      image,
      resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ],
  },
  test_error_handling: {
    isError: true,
    content: [text('This tool intentionally returns an error for testing')],
  },
  test_tool_with_progress: { content: [text('done')] },
  test_tool_with_logging: { content: [text('done')] },
  /** The stream of its call is closed first, SEP-1699. */
  test_reconnection: { content: [text('done after reconnecting')] },
};
type Name = keyof typeof RESULTS;
const NAMES = Object.keys(RESULTS) as Name[];
const isKnown = (name: string): name is Name => Object.hasOwn(RESULTS, name);

type Notify = (method: string, params: Record<string, unknown>) => Promise<void>;

/** What a tool says before its result. */
async function beforehand(name: Name, token: string | number | undefined, notify: Notify): Promise<void> {
  if (name === 'test_tool_with_progress' && token !== undefined)
    for (const progress of [0, 50, 100])
      await notify('notifications/progress', { progressToken: token, progress, total: 100 });
  if (name === 'test_tool_with_logging')
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed'])
      await notify('notifications/message', { level: 'info', data });
}

function legacyServer(): Server {
  const server = new Server(
    { name: 'conformance', version: '1' },
    { capabilities: { tools: {}, logging: {}, ...CONTENT_CAPABILITIES } },
  );
  for (const [schema, answer] of Object.values(CONTENT))
    server.setRequestHandler(schema as unknown as typeof ListToolsRequestSchema, ({ params }) =>
      answer((params ?? {}) as Asked),
    );
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [...NAMES, ...LEGACY_ASKING].map((name) => ({
      name,
      description: name,
      inputSchema: { type: 'object' as const },
    })),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const asked = await askThenAnswer(params.name, params.arguments ?? {}, (question) =>
      extra.sendRequest(question as Parameters<typeof extra.sendRequest>[0], z.looseObject({})),
    );
    if (asked !== undefined) return asked;
    if (!isKnown(params.name)) throw new Error(`there is no tool ${params.name}`);
    const notify: Notify = (method, about) =>
      extra.sendNotification({ method, params: about } as Parameters<typeof extra.sendNotification>[0]);
    if (params.name === 'test_reconnection') extra.closeSSEStream?.();
    await beforehand(params.name, params._meta?.progressToken, notify);
    return RESULTS[params.name];
  });
  return server;
}

/** Sessions, as the SDK keeps them. */
export function startLegacyConformance(): Promise<Serving> {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  return listening((req, res) => void answer(req, res));

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const id = req.headers['mcp-session-id'];
    const known = typeof id === 'string' ? sessions.get(id) : undefined;
    if (known !== undefined) return known.handleRequest(req, res);
    if (id !== undefined) return void res.writeHead(404).end();
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: new EventsInOrder(),
      retryInterval: 100,
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    await legacyServer().connect(transport as Parameters<Server['connect']>[0]);
    await transport.handleRequest(req, res);
  }
}

export function startModernConformance(): Promise<Serving> {
  const handler = createMcpHandler(
    () => {
      const capabilities = { tools: {}, ...CONTENT_CAPABILITIES };
      const server = new McpServer(
        { name: 'conformance', version: '1' },
        { capabilities, requestState: { verify: verifyState } },
      );
      for (const [method, [, answer]] of Object.entries(CONTENT))
        server.server.setRequestHandler(method as 'ping', ({ params }, context) => {
          const about = (params ?? {}) as Asked;
          return (about.name === ASKING_PROMPT ? answerPrompt(roundOf(context)) : answer(about)) as object;
        });
      for (const name of NAMES)
        server.registerTool(name, { description: name, inputSchema: z.object({}) }, async (_, extra) => {
          const token = extra.mcpReq._meta?.progressToken;
          await beforehand(name, token, (method, params) =>
            extra.mcpReq.notify({ method, params } as Parameters<typeof extra.mcpReq.notify>[0]),
          );
          return RESULTS[name];
        });
      for (const [name, answer] of Object.entries(MODERN_ASKING))
        server.registerTool(
          name,
          { description: name, inputSchema: z.object({}) },
          (_, context) => answer(roundOf(context)) as CallToolResult,
        );
      return server;
    },
    { legacy: 'reject' },
  );
  const serve = toNodeHandler(handler);
  return listening((req, res) => void serve(req as Parameters<typeof serve>[0], res));
}

function roundOf({ mcpReq: { inputResponses, requestState, envelope } }: ServerContext): Round {
  return {
    answers: inputResponses,
    state: requestState<string>(),
    can: Object(Reflect.get(envelope ?? {}, 'io.modelcontextprotocol/clientCapabilities')),
  };
}

async function listening(listener: RequestListener): Promise<Serving> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
