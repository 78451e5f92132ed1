/**
 * One endpoint for all MCP servers that the caller may reach, for one client: their tools, prompts and resources under
 * names that begin with the server's. A server that is down or slow is left out until it answers. What a call may do is
 * decided by the gateway of its server, on the server's own names.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { claimedVersion, type Era, MODERN_VERSIONS } from '@chancery/shared/mcp/era.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import { levelOf, SET_LEVEL } from '@chancery/shared/mcp/logging.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Notification,
  type Request,
  type Response,
} from '@chancery/shared/mcp/message.ts';
import { LISTEN } from '@chancery/shared/mcp/subscription.ts';
import { serverPart } from '@chancery/shared/mcp/union-name.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Dialler } from '../dial.ts';
import { failureOf } from '../stdio/answer.ts';
import { aborted, within } from '../within.ts';
import { aboutUnion } from './about.ts';
import { Asks } from './asks.ts';
import { cursorOf, type Listed } from './catalog.ts';
import { Changes } from './changes.ts';
import { CALL, FIND, foundIn, insteadOf, realCall } from './find.ts';
import type { Link } from './link.ts';
import { Member } from './member.ts';
import { pageOf } from './pages.ts';
import { isList, LISTS, shownError, shownNotification, shownResult } from './shown.ts';
import { type Hello, helloOf, isAway, refused, resultInEra } from './speech.ts';
import { isForOne, targetOf } from './targets.ts';

export interface UnionOptions {
  /** The servers that the caller may reach. */
  readonly policy: Source<Policy>;
  /** Shows `find_tools` and `call_tool` instead of more than 60 tools. */
  readonly findTools: boolean;
  /** Connections to a server of the registry. The union closes it. */
  readonly dial: (server: string) => Dialler;
  readonly clock: Clock;
  readonly log: Log;
  /** Writes to the client. False asks for a pause until `onDrain`. */
  write(message: Message): boolean;
  /** Calls once, when the client has read enough. */
  onDrain(resume: () => void): void;
  readonly full: () => boolean;
}

/** A server that hangs delays an answer about all servers by no more. */
const PATIENCE_SECONDS = 1;
/** For sessions to end. */
const END_SECONDS = 1;

/** Begins with the client's first request. `end` ends the sessions at the servers, and the connections. */
export class Union {
  readonly #options: UnionOptions;
  readonly #members = new Map<string, Member>();
  readonly #diallers = new Map<string, Dialler>();
  readonly #flights = new Map<Id, AbortController>();
  readonly #asks: Asks;
  readonly #changes: Changes;
  #hello: Hello | undefined;
  #level: JsonObject | undefined;
  #stop: () => void = () => {};

  constructor(options: UnionOptions) {
    this.#options = options;
    this.#asks = new Asks(options.write);
    this.#changes = new Changes(options);
  }

  /** Resolves when the message is answered or passed on. Never rejects: a failure is an answer to the client. */
  async send(message: Message): Promise<void> {
    // A server that hangs must not hold up what comes after.
    if (message.kind === 'response') return void this.#asks.answer(message);
    if (message.kind === 'notification') return this.#tell(message);
    const flight = new AbortController();
    this.#flights.set(message.id, flight);
    try {
      const response = await this.#answer(message, flight.signal);
      if (!flight.signal.aborted) this.#options.write(response);
    } catch (error) {
      if (flight.signal.aborted) return;
      this.#options.log.warn({ err: error, method: message.method }, 'a request failed');
      this.#options.write(failed(message.id, error));
    } finally {
      if (this.#flights.get(message.id) === flight) this.#flights.delete(message.id);
    }
  }

  /** Gives up open requests, and ends the sessions at the servers within a second. */
  async end(): Promise<void> {
    this.#stop();
    this.#changes.stop();
    for (const flight of this.#flights.values()) flight.abort();
    const ended = Promise.all([...this.#members.values()].map((member) => member.end()));
    await within(this.#options.clock, END_SECONDS, (signal) => Promise.race([ended, aborted(signal)]));
    for (const dialler of this.#diallers.values()) dialler.close();
  }

  async #answer(request: Request, signal: AbortSignal): Promise<Response> {
    const { id, method } = request;
    const era: Era = claimedVersion(request) === undefined ? 'legacy' : 'modern';
    const asked = claimedVersion(request);
    if (asked !== undefined && !MODERN_VERSIONS.includes(asked)) return refused(id, asked);
    const hello = this.#begin(request);
    const say = (result: JsonObject): Response => ({
      kind: 'response',
      id,
      result: resultInEra(result, method, era),
      error: undefined,
    });
    if (method === 'ping') return say({});
    if (method === 'initialize' || method === 'server/discover') {
      await this.#patiently((member) => member.known());
      return say(aboutUnion(hello, [...this.#members.values()]));
    }
    if (isList(method)) return say(await this.#list(request, method));
    if (method === LISTEN) return say(await this.#changes.listen(request, signal));
    if (method === SET_LEVEL) return (await this.#setLevel(request, signal)) ?? say({});
    if (!isForOne(method)) return errorResponse(id, { code: -32601, message: 'the method is not known' });
    if (this.#isOurs(request, FIND)) {
      await this.#patiently((member) => member.read('tools/list'));
      return say(
        foundIn(
          this.#listed('tools/list').flatMap(({ entries }) => entries),
          request.params,
        ),
      );
    }
    const { params = {} } = request;
    const real = this.#isOurs(request, CALL) ? { method, params: realCall(params) } : request;
    const target = await targetOf(real, this.#members);
    const response = await target.member.ask(target.asked, signal);
    const { server } = target.member;
    return response.result === undefined
      ? { ...response, id, error: shownError(server, response) }
      : say(shownResult(server, response.result));
  }

  async #tell({ method, params }: Notification): Promise<void> {
    if (method === 'notifications/cancelled') {
      const id = params?.['requestId'];
      if (typeof id === 'string' || typeof id === 'number') this.#flights.get(id)?.abort();
    }
    if (method === 'notifications/roots/list_changed')
      for (const { up } of this.#members.values())
        if (up?.era === 'legacy') void up.link.tell({ method, params });
  }

  async #list(request: Request, method: ListMethod): Promise<JsonObject> {
    const cursor = cursorOf(request.params);
    if (cursor === undefined)
      await this.#changes.whileListing(request, method, () =>
        this.#patiently((member) => member.read(method)),
      );
    const lists = this.#listed(method);
    const count = lists.reduce((sum, { entries }) => sum + entries.length, 0);
    const two = method === 'tools/list' && this.#options.findTools ? insteadOf(count) : undefined;
    return two === undefined ? pageOf(method, lists, cursor) : { tools: two };
  }

  /** An error if each server that has a log denies it. One that is away is told when it comes back. */
  async #setLevel(request: Request, signal: AbortSignal): Promise<Response | undefined> {
    const [before, params] = [this.#level, { level: levelOf(request) }];
    this.#level = params;
    const denials: Response[] = [];
    let asked = 0;
    await this.#patiently(async (member) => {
      if (member.up?.capabilities['logging'] === undefined) return;
      asked += 1;
      const response = await member.ask({ method: SET_LEVEL, params }, signal);
      if (response.error !== undefined && !isAway(response)) denials.push({ ...response, id: request.id });
    });
    if (denials.length < asked || denials[0] === undefined) return undefined;
    if (this.#level === params) this.#level = before;
    return denials[0];
  }

  /** By the names of the servers. */
  #listed(method: ListMethod): readonly Listed[] {
    const servers = [...this.#members.keys()].toSorted();
    return servers.flatMap((server) => this.#members.get(server)?.listed(method) ?? []);
  }

  #isOurs({ method, params }: Request, name: string): boolean {
    return this.#options.findTools && method === 'tools/call' && params?.['name'] === name;
  }

  /** Asks all servers at once, and waits a second for them. */
  async #patiently(work: (member: Member) => Promise<void>): Promise<void> {
    const all = Promise.all([...this.#members.values()].map((member) => work(member).catch(() => {})));
    await within(this.#options.clock, PATIENCE_SECONDS, (signal) => Promise.race([all, aborted(signal)]));
  }

  #begin(request: Request): Hello {
    if (this.#hello !== undefined && request.method !== 'initialize') return this.#hello;
    const hello = helloOf(request);
    if (this.#hello !== undefined) return hello;
    this.#hello = hello;
    const { policy } = this.#options;
    this.#stop = policy.onChange((next) => this.#follow(next, hello));
    try {
      this.#follow(policy.current(), hello);
    } catch {
      // There is no policy yet: it comes as a change.
    }
    return hello;
  }

  /** Servers come and go with the policy. */
  #follow({ servers }: Policy, hello: Hello): void {
    const { log, dial } = this.#options;
    // The CA refuses such names, too. None of them may stand for the other.
    const parts = [...Map.groupBy(servers.keys(), serverPart).values()];
    const twins = new Set(parts.filter((named) => named.length > 1).flat());
    for (const server of twins)
      log.warn({ server }, 'an MCP server is left out: its name is shown as another');
    for (const [server, member] of [...this.#members])
      if (!servers.has(server) || twins.has(server)) this.#leave(server, member);
    for (const server of servers.keys()) {
      if (this.#members.has(server) || twins.has(server)) continue;
      const dialler = dial(server);
      this.#diallers.set(server, dialler);
      const { clock, onDrain, full } = this.#options;
      const member = new Member({
        server,
        hello,
        dialler,
        clock,
        log,
        onDrain: (resume) => onDrain(resume),
        full,
        level: () => this.#level,
        onMessage: (message, link) => this.#fromServer(server, message, link),
        onChanged: (methods) => {
          if (this.#members.get(server)?.up === undefined) this.#asks.end(server);
          this.#changes.changed(methods);
        },
      });
      this.#members.set(server, member);
    }
  }

  #leave(server: string, member: Member): void {
    this.#members.delete(server);
    this.#asks.end(server);
    this.#changes.changed(Object.keys(LISTS) as ListMethod[]);
    void member.end().finally(() => {
      this.#diallers.get(server)?.close();
      this.#diallers.delete(server);
    });
  }

  #fromServer(server: string, message: Request | Notification, link: Link): boolean {
    if (message.kind === 'request') return this.#asks.ask(server, link, message);
    if (message.method === 'notifications/cancelled')
      return this.#asks.cancel(link, message.params?.['requestId']);
    const changed = this.#changes.of(message);
    if (changed !== undefined) {
      this.#changes.changed(changed);
      return true;
    }
    const shown = shownNotification(server, message);
    return shown === undefined || this.#options.write(shown);
  }
}

/** What is wrong with the request itself has the code of JSON-RPC for that. */
function failed(id: Id, error: unknown): Response {
  return isRefusal(error, 'mcp_parse')
    ? errorResponse(id, { code: -32602, message: error.message })
    : failureOf(id, error);
}
