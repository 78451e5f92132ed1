/**
 * A small MCP client of one server, for commands: a request at a time over the connections of `connect`, in the era
 * that the server speaks. It has no capabilities, so no server may ask it anything.
 */
import type { IncomingMessage } from 'node:http';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import { CAPABILITIES_KEY, type Era, LEGACY_VERSIONS, MODERN_VERSIONS } from '@chancery/shared/mcp/era.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Response,
  type RpcError,
  readMessage,
} from '@chancery/shared/mcp/message.ts';
import { Dialler, type DialOptions } from './connect/dial.ts';
import { drain, failureOf } from './connect/stdio/answer.ts';
import { Exchanges } from './connect/stdio/exchange.ts';
import { CANCELLED } from './upstream/numbering.ts';
import { ALLOWED, type Allowed, MAX_ASKED, MAX_TOLD_BYTES, readAllowed, writeAsked } from './wire/allowed.ts';
import { DENIED, TOO_MANY } from './wire/answer/reply.ts';
import { BY_NAME } from './wire/endpoint.ts';
import { header, readBody } from './wire/http-body.ts';

export interface ClientOptions extends DialOptions {
  /** Of this program, as servers are told. */
  readonly version: string;
  /** Ends every wait, and cancels an open call. */
  readonly signal: AbortSignal;
  /** What the server says of how far a call is: one line of text. */
  readonly onProgress?: ((says: string) => void) | undefined;
}

/** One call at a time. */
const PROGRESS = 'call';
/** How long a server may take to say what it is, and what it has. */
const SHORT_MS = 30_000;
/** A server of the legacy era may not answer at all to what it does not know. */
const DISCOVER_MS = 10_000;
/** As many pages of a list. */
const MAX_PAGES = 100;
/** For the end of a session, and for a cancellation, to arrive. */
const END_MS = 2_000;
/** JSON-RPC 2.0 section 5.1. */
const NO_METHOD = -32601;

/** A tool, as its server lists it. */
export interface Listed {
  readonly name: string;
  readonly description: string | undefined;
}

/** The caller closes it. Its promises reject with refusals: denied is mcp_call, all else mcp_upstream. */
export class Client {
  readonly #options: ClientOptions;
  readonly #dialler: Dialler;
  readonly #exchanges: Exchanges;
  readonly #waiting = new Map<Id, (response: Response) => void>();
  #next = 0;
  #era: Era | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#dialler = new Dialler(options);
    const write = (message: Message): boolean => this.#take(message);
    this.#exchanges = new Exchanges({
      ...{ dialler: this.#dialler, clock, log, write },
      onDrain: (resume) => resume(),
      full: () => false,
    });
  }

  /** What the gateway says of these tools; nothing reaches the server. */
  async allowed(tools: readonly string[]): Promise<Allowed> {
    const parts: Allowed[] = [];
    for (let at = 0; at === 0 || at < tools.length; at += MAX_ASKED)
      parts.push(await this.#allowed(tools.slice(at, at + MAX_ASKED)));
    return { any: parts.some(({ any }) => any), tools: parts.flatMap(({ tools: told }) => told) };
  }

  /** The tools that the gateway lets this caller see, of all pages. */
  async tools(): Promise<readonly Listed[]> {
    const listed: Listed[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const params: JsonObject = cursor === undefined ? {} : { cursor };
      const { tools, nextCursor } = resultOf(await this.#request('tools/list', params, SHORT_MS));
      for (const tool of Array.isArray(tools) ? tools : []) listed.push(...listedIn(tool));
      if (typeof nextCursor !== 'string') return listed;
      cursor = nextCursor;
    }
    return listed;
  }

  /** The answer to a call, which may be an error of the server. Waits until the signal, which cancels the call. */
  async call(name: string, given: JsonObject): Promise<Response> {
    const _meta = { progressToken: PROGRESS };
    try {
      const response = await this.#request('tools/call', { name, arguments: given, _meta }, undefined);
      ensureNotDenied(response);
      return response;
    } catch (error) {
      if (this.#options.signal.aborted) await this.#cancel();
      throw error;
    }
  }

  /** Ends the session and the connections. */
  async close(): Promise<void> {
    await soon(this.#exchanges.end());
    this.#dialler.close();
  }

  /** In the modern era the end of the connection cancels; in the legacy one it does not. */
  async #cancel(): Promise<void> {
    if (this.#era !== 'legacy') return;
    const params = { requestId: this.#next, reason: 'the user ended it' };
    await soon(this.#exchanges.send({ kind: 'notification', method: CANCELLED, params }));
  }

  async #request(method: string, params: JsonObject, ms: number | undefined): Promise<Response> {
    this.#era ??= await this.#begin();
    return this.#ask(method, this.#era === 'modern' ? this.#modern(params) : params, ms);
  }

  /** As 2026-07-28 has it for clients of both eras: what is not modern is legacy. */
  async #begin(): Promise<Era> {
    const [version] = MODERN_VERSIONS;
    const { policy, server } = this.#options;
    if (policy.current().servers.get(server)?.era !== 'legacy') {
      const { result, error } = await this.#ask('server/discover', this.#modern({}), DISCOVER_MS).catch(
        (cause: unknown) => this.#unlessEnded(cause),
      );
      ensureNotDenied({ error });
      const { supportedVersions } = result ?? {};
      if (Array.isArray(supportedVersions) && supportedVersions.some((each) => each === version))
        return 'modern';
    }
    const protocolVersion = LEGACY_VERSIONS.at(-1) ?? '';
    const asked = { protocolVersion, capabilities: {}, clientInfo: this.#info() };
    resultOf(await this.#ask('initialize', asked, SHORT_MS));
    await this.#exchanges.send({
      kind: 'notification',
      method: 'notifications/initialized',
      params: undefined,
    });
    return 'legacy';
  }

  /** A server that gives no answer to a question of the modern era may be of the legacy one. */
  #unlessEnded(cause: unknown): Pick<Response, 'result' | 'error'> {
    if (this.#options.signal.aborted) throw cause;
    return { result: undefined, error: undefined };
  }

  #modern(params: JsonObject): JsonObject {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': MODERN_VERSIONS[0] ?? '',
      'io.modelcontextprotocol/clientInfo': this.#info(),
      [CAPABILITIES_KEY]: {},
    };
    return { ...params, _meta: { ...meta, ...(isJsonObject(params['_meta']) ? params['_meta'] : {}) } };
  }

  #info(): JsonObject {
    return { name: 'chancery-agent', version: this.#options.version };
  }

  async #ask(method: string, params: JsonObject, ms: number | undefined): Promise<Response> {
    const { signal } = this.#options;
    this.#next += 1;
    const id = this.#next;
    const answered = new Promise<Response>((resolve, reject) => {
      this.#waiting.set(id, resolve);
      if (ms !== undefined) {
        const late = new IdentityError('mcp_upstream', `no answer to ${method} in ${ms / 1000} s`);
        AbortSignal.timeout(ms).addEventListener('abort', () => reject(late), { once: true });
      }
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      signal.throwIfAborted();
    });
    const sent = this.#exchanges.send({ kind: 'request', id, method, params });
    // It never rejects, and a request that has no answer by then gets none.
    const unanswered = sent.then(() =>
      failureOf(id, new IdentityError('mcp_outcome', 'the connection ended without an answer')),
    );
    try {
      return await Promise.race([answered, unanswered]);
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Answers, progress, and what else a server sends unasked: a ping is answered, the rest has no meaning here. */
  #take(message: Message): boolean {
    if (message.kind === 'response' && message.id !== undefined) this.#waiting.get(message.id)?.(message);
    if (message.kind === 'notification' && message.method === 'notifications/progress')
      this.#options.onProgress?.(saysProgress(message.params ?? {}));
    if (message.kind === 'request') {
      const { id, method } = message;
      const pong: Response = { kind: 'response', id, result: {}, error: undefined };
      const unknown = errorResponse(id, { code: NO_METHOD, message: 'this client answers nothing' });
      void this.#exchanges.send(method === 'ping' ? pong : unknown);
    }
    return true;
  }

  async #allowed(tools: readonly string[]): Promise<Allowed> {
    const { server, signal } = this.#options;
    const until = AbortSignal.any([signal, AbortSignal.timeout(SHORT_MS)]);
    const headers = { 'content-type': 'application/json' };
    const posted = { method: 'POST', headers, body: writeAsked(tools), path: `${ALLOWED}${server}` } as const;
    const response = await new Promise<IncomingMessage>((onResponse, onError) => {
      const giveUp = this.#dialler.send(posted, { onResponse, onError });
      until.addEventListener('abort', () => {
        giveUp();
        onError(
          signal.aborted ? signal.reason : new IdentityError('unavailable', 'the gateway did not answer'),
        );
      });
    });
    const older = header(response, BY_NAME) === undefined;
    if (older) drain(response);
    ensure(!older, 'mcp_upstream', 'its gateway is of an older release, which does not say what is allowed');
    const body = await readBody(response, MAX_TOLD_BYTES);
    if (response.statusCode === 200) return readAllowed(body, tools);
    if (response.statusCode === 403) throw new IdentityError('mcp_call', reasonIn(body));
    throw new IdentityError('mcp_upstream', `its gateway answered HTTP ${response.statusCode}`);
  }
}

/** Of a denial over HTTP. Throws mcp_parse. */
function reasonIn(body: Uint8Array): string {
  const message = readMessage(body, MAX_TOLD_BYTES, 'server');
  return message.kind === 'response' && message.error !== undefined
    ? whyDenied(message.error)
    : 'not allowed';
}

function whyDenied({ data, message }: RpcError): string {
  const { reason, decisionId, retryAfterMs } = isJsonObject(data) ? data : ({} as JsonObject);
  const again = typeof retryAfterMs === 'number' ? `; try again in ${Math.ceil(retryAfterMs / 1000)} s` : '';
  const says = `${typeof reason === 'string' ? reason : message}${again}`;
  return typeof decisionId === 'string' ? `${says} (decision ${decisionId})` : says;
}

/** Throws mcp_call, also for a call that is denied for now, above a rate. */
function ensureNotDenied({ error }: Pick<Response, 'error'>): void {
  if (error?.code === DENIED || error?.code === TOO_MANY)
    throw new IdentityError('mcp_call', whyDenied(error));
}

/** Throws mcp_call, mcp_upstream. */
function resultOf(response: Response): JsonObject {
  ensureNotDenied(response);
  const { result, error } = response;
  ensure(result !== undefined, 'mcp_upstream', `the server answered: ${error?.message} (${error?.code})`);
  return result;
}

/** `message (3 of 10)`, as far as the server says it. */
function saysProgress({ message, progress, total }: JsonObject): string {
  const of = total === undefined ? '' : ` of ${String(total)}`;
  const at = progress === undefined ? '' : `${String(progress)}${of}`;
  return typeof message === 'string' ? `${message} (${at})` : at;
}

/** Waits for work that another side may never finish. It does not reject. */
async function soon(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, END_MS);
  });
  await Promise.race([work.catch(() => {}), late]);
  clearTimeout(timer);
}

const listedIn = (tool: unknown): readonly Listed[] => {
  const { name, description } = (tool ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string') return [];
  return [{ name, description: typeof description === 'string' ? description : undefined }];
};
