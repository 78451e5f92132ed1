/**
 * One server of the union, for one client. It begins by itself, is tried again while it is down, and keeps the lists
 * that it gave last.
 */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import { SET_LEVEL } from '@chancery/shared/mcp/logging.ts';
import type { Notification, Request, Response } from '@chancery/shared/mcp/message.ts';
import { LISTEN } from '@chancery/shared/mcp/subscription.ts';
import { aborted, within } from '../within.ts';
import { isListed, type Listed, NOTHING, readList } from './catalog.ts';
import { type Asked, Link, type LinkOptions } from './link.ts';
import { greeting, type Hello, inEra, isAway, isOfOtherEra } from './speech.ts';

export interface MemberOptions extends Omit<LinkOptions, 'onMessage' | 'onStreamEnd'> {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly hello: Hello;
  /** A request or a notification of the server. False asks for a pause. */
  onMessage(message: Request | Notification, link: Link): boolean;
  /** The parameters of the client's `logging/setLevel`. Undefined if it set none. */
  level(): JsonObject | undefined;
  /** Another list than before may be shown. */
  onChanged(methods: readonly ListMethod[]): void;
}

/** A server that answers. */
export interface Up {
  readonly link: Link;
  readonly era: Era;
  readonly capabilities: JsonObject;
  /** Empty if there are none. */
  readonly instructions: string;
}

const FIRST_WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 30;
/** For an answer to our own requests. A client waits for them no longer than a second. */
const ANSWER_SECONDS = 30;
/** For the end of an exchange that has no answer. */
const TOLD_SECONDS = 1;
const ALL: readonly ListMethod[] = [
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
];

/** Begins in the constructor. `end` ends its session. */
export class Member {
  readonly #options: MemberOptions;
  readonly #stopped = new AbortController();
  readonly #lists = new Map<ListMethod, Listed>();
  readonly #reading = new Map<ListMethod, Promise<void>>();
  /** Of the attempt that is under way, else of the next one. */
  #outcome = Promise.withResolvers<void>();
  #wake = new AbortController();
  #up: Up | undefined;
  #onDown: () => void = () => {};
  #isKnown = false;
  #isChecking = false;
  #why = 'it was not asked yet';

  constructor(options: MemberOptions) {
    this.#options = options;
    void this.#run();
  }

  /** The McpServer resource's name. */
  get server(): string {
    return this.#options.server;
  }

  /** Undefined while it is down. */
  get up(): Up | undefined {
    return this.#up;
  }

  /** Resolves when it is known whether the server answers. */
  async known(): Promise<void> {
    if (!this.#isKnown) await this.#outcome.promise;
  }

  /** Sends a client's request. A server that is down is tried at once. Rejects with mcp_upstream, and by the signal. */
  async ask({ method, params }: Asked, signal?: AbortSignal): Promise<Response> {
    const { hello, server } = this.#options;
    if (this.#up === undefined) {
      this.#wake.abort();
      await Promise.race([this.#outcome.promise, ...(signal === undefined ? [] : [aborted(signal)])]);
      signal?.throwIfAborted();
    }
    const up: Up | undefined = this.#up;
    if (up === undefined)
      throw new IdentityError(
        'mcp_upstream',
        `the MCP server ${server} does not answer: ${this.#why}; the call was not sent`,
      );
    const response = await up.link.ask({ method, params: inEra(params, hello, up.era) }, signal);
    if (isAway(response)) this.#suspect();
    return response;
  }

  /** What it gave last; nothing while it is down. */
  listed(method: ListMethod): Listed {
    return this.#lists.get(method) ?? NOTHING;
  }

  /** Asks for a list again, and resolves when `listed` has it. Never rejects. */
  read(method: ListMethod): Promise<void> {
    const running = this.#reading.get(method);
    if (running !== undefined) return running;
    const reading = this.#read(method).finally(() => this.#reading.delete(method));
    this.#reading.set(method, reading);
    return reading;
  }

  /** Ends the session at the server. */
  async end(): Promise<void> {
    this.#stopped.abort();
    this.#onDown();
    this.#outcome.resolve();
    await this.#up?.link.end();
  }

  async #run(): Promise<void> {
    const { clock, log, server } = this.#options;
    let wait = FIRST_WAIT_SECONDS;
    while (!this.#stopped.signal.aborted) {
      this.#up = await this.#begin();
      this.#isKnown = true;
      this.#outcome.resolve();
      this.#outcome = Promise.withResolvers();
      if (this.#stopped.signal.aborted) return void this.#up?.link.end();
      if (this.#up !== undefined) {
        wait = FIRST_WAIT_SECONDS;
        this.#tellLevel(this.#up);
        this.#options.onChanged(ALL);
        await this.#whileUp(this.#up);
        if (this.#stopped.signal.aborted) return;
      }
      if (wait === FIRST_WAIT_SECONDS)
        log.warn(
          { server, why: this.#why },
          'an MCP server does not answer; its tools are left out until it does',
        );
      this.#wake = new AbortController();
      const until = AbortSignal.any([this.#stopped.signal, this.#wake.signal]);
      await clock.sleepUntil(addSeconds(clock.now(), wait), until).catch(() => {});
      wait = Math.min(wait * 2, LONGEST_WAIT_SECONDS);
    }
  }

  /** Undefined if the server does not answer. */
  async #begin(): Promise<Up | undefined> {
    const { hello } = this.#options;
    const link = new Link({
      ...this.#options,
      onMessage: (message) => this.#options.onMessage(message, link),
      onStreamEnd: () => this.#suspect(),
    });
    const eras: readonly Era[] = hello.era === 'legacy' ? ['legacy', 'modern'] : ['modern', 'legacy'];
    for (const era of eras) {
      const response = await this.#inTime((signal) => link.ask(greeting(hello, era), signal));
      if (response?.result !== undefined) return this.#begun(link, era, response.result);
      this.#why = await this.#reasonOf(response);
      if (response === undefined || !isOfOtherEra(response)) break;
    }
    void link.end();
    return undefined;
  }

  async #begun(link: Link, era: Era, result: JsonObject): Promise<Up> {
    const { capabilities, instructions } = result;
    if (era === 'legacy') {
      const told = link.tell({ method: 'notifications/initialized', params: undefined });
      // A server that never ends this exchange is up all the same.
      const { clock } = this.#options;
      await within(clock, TOLD_SECONDS, (signal) => Promise.race([told, aborted(signal)]));
      link.listen();
    }
    return {
      link,
      era,
      capabilities: isJsonObject(capabilities) ? capabilities : {},
      instructions: typeof instructions === 'string' ? instructions : '',
    };
  }

  /** A server that comes, or comes back, does not know what the client asked for before. */
  #tellLevel({ link, era, capabilities }: Up): void {
    const params = this.#options.level();
    if (params === undefined || era === 'modern' || capabilities['logging'] === undefined) return;
    void this.#inTime((signal) => link.ask({ method: SET_LEVEL, params }, signal));
  }

  /** Where an outcome is unknown, it is that of our own request: the message says more than is true of a call. */
  async #reasonOf(response: Response | undefined): Promise<string> {
    const error = response?.error;
    if (error === undefined) return `no answer within ${ANSWER_SECONDS} s`;
    if (!isJsonObject(error.data) || error.data['outcome'] !== 'unknown') return error.message;
    const says = 'the connection to it ended before its answer';
    const why = await this.#options.dialler.explain(new IdentityError('mcp_upstream', says));
    return isRefusal(why) ? why.message : says;
  }

  /** Resolves when the server does not answer any more. Its open requests end by themselves. */
  async #whileUp({ link, era }: Up): Promise<void> {
    const down = new Promise<void>((resolve) => {
      this.#onDown = resolve;
    });
    const over = new AbortController();
    if (era === 'modern') void this.#subscribe(link, AbortSignal.any([this.#stopped.signal, over.signal]));
    await down;
    over.abort();
    if (this.#stopped.signal.aborted) return;
    this.#up = undefined;
    this.#lists.clear();
    this.#options.onChanged(ALL);
    void link.idle().then(() => link.end());
  }

  /** The modern form of a server's own stream. A server without it is looked at when a request fails. */
  async #subscribe(link: Link, over: AbortSignal): Promise<void> {
    const { hello, clock } = this.#options;
    const notifications = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    const asked = { method: LISTEN, params: inEra({ notifications }, hello, 'modern') };
    while (!over.aborted) {
      const response = await link.ask(asked, over).catch(() => undefined);
      if (response?.error !== undefined && !isAway(response)) return;
      this.#suspect();
      const until = addSeconds(clock.now(), FIRST_WAIT_SECONDS);
      await clock.sleepUntil(until, over).catch(() => {});
    }
  }

  /** Asks whether the server is still there. A server that is slow to say so is. */
  #suspect(): void {
    const up = this.#up;
    if (up === undefined || this.#isChecking) return;
    this.#isChecking = true;
    const asked =
      up.era === 'legacy' ? { method: 'ping', params: undefined } : greeting(this.#options.hello, up.era);
    void this.#inTime((signal) => up.link.ask(asked, signal)).then(async (response) => {
      this.#isChecking = false;
      if (response === undefined || !isAway(response)) return;
      const why = await this.#reasonOf(response);
      if (this.#up !== up) return;
      this.#why = why;
      this.#onDown();
    });
  }

  async #read(method: ListMethod): Promise<void> {
    await this.known();
    const { hello, server, log } = this.#options;
    const up = this.#up;
    if (up === undefined || up.capabilities[method.slice(0, method.indexOf('/'))] === undefined) return;
    const read = await this.#inTime((signal) =>
      readList(server, method, ({ params }) =>
        up.link.ask({ method, params: inEra(params, hello, up.era) }, signal),
      ),
    );
    if (read === undefined || this.#up !== up) return;
    if (!isListed(read)) {
      if (isAway(read)) this.#suspect();
      return;
    }
    const before = this.listed(method);
    this.#lists.set(method, read);
    if (read.leftOut !== undefined && read.leftOut !== before.leftOut)
      log.warn({ server, method }, `a list of an MCP server is not shown in full: ${read.leftOut}`);
    if (read.digest !== before.digest) this.#options.onChanged([method]);
  }

  /** Undefined if it takes too long, or fails. */
  async #inTime<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    return within(this.#options.clock, ANSWER_SECONDS, work, this.#stopped.signal);
  }
}
