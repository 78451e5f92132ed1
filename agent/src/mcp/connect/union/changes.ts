/**
 * Tells the client of changed lists: at most once a second for each kind, so that no server can make it list all day.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { claimedVersion } from '@chancery/shared/mcp/era.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import type { Id, Message, Notification, Request } from '@chancery/shared/mcp/message.ts';
import {
  acknowledged,
  changedList,
  filterOf,
  LISTED,
  type Listed,
  listChanged,
  resultOf,
  tagged,
} from '@chancery/shared/mcp/subscription.ts';

export interface ChangesOptions {
  readonly clock: Clock;
  /** Writes to the client. */
  write(message: Message): boolean;
}

const PAUSE_SECONDS = 1;
const MAX_SUBSCRIPTIONS = 64;
const METHODS: Readonly<Record<Listed, readonly ListMethod[]>> = {
  tool: ['tools/list'],
  prompt: ['prompts/list'],
  resource: ['resources/list', 'resources/templates/list'],
};

const kindOf = (method: ListMethod): Listed =>
  LISTED.find((kind) => METHODS[kind].includes(method)) ?? 'tool';

/** `stop` ends it. */
export class Changes {
  readonly #options: ChangesOptions;
  readonly #stopped = new AbortController();
  /** What a legacy client has listed: of other changes it does not care. */
  readonly #listed = new Set<Listed>();
  /** Lists that are being put together, which will have the change. */
  readonly #open = new Map<ListMethod, number>();
  readonly #subscriptions = new Map<Id, ReadonlySet<Listed>>();
  readonly #pausing = new Set<Listed>();
  readonly #due = new Set<Listed>();

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** The lists that a notification of a server is about. Undefined for any other notification. */
  of(notification: Notification): readonly ListMethod[] | undefined {
    const kind = changedList(notification);
    return kind === undefined ? undefined : METHODS[kind];
  }

  /** Does the work of a list, whose result has all changes until then. */
  async whileListing(request: Request, method: ListMethod, work: () => Promise<void>): Promise<void> {
    if (claimedVersion(request) === undefined) this.#listed.add(kindOf(method));
    this.#open.set(method, (this.#open.get(method) ?? 0) + 1);
    await work();
    this.#open.set(method, (this.#open.get(method) ?? 1) - 1);
  }

  /** These lists may differ from what the client was shown. */
  changed(methods: readonly ListMethod[]): void {
    const kinds = methods.filter((method) => (this.#open.get(method) ?? 0) === 0).map(kindOf);
    for (const kind of new Set(kinds)) {
      if (this.#pausing.has(kind)) this.#due.add(kind);
      else void this.#say(kind);
    }
  }

  /** Serves `subscriptions/listen` (2026-07-28) until the signal. Throws mcp_parse. */
  async listen(request: Request, signal: AbortSignal): Promise<JsonObject> {
    const { id, method } = request;
    const { lists } = filterOf(request);
    ensure(
      this.#subscriptions.size < MAX_SUBSCRIPTIONS,
      'rate',
      `${MAX_SUBSCRIPTIONS} subscriptions are open`,
    );
    this.#subscriptions.set(id, new Set(lists));
    this.#options.write(acknowledged(id, { lists, uris: [] }));
    const until = AbortSignal.any([signal, this.#stopped.signal]);
    if (!until.aborted)
      await new Promise<void>((resolve) => until.addEventListener('abort', () => resolve(), { once: true }));
    this.#subscriptions.delete(id);
    return resultOf({ method, requestId: id }, {});
  }

  /** Ends all subscriptions. */
  stop(): void {
    this.#stopped.abort();
  }

  async #say(kind: Listed): Promise<void> {
    const { clock, write } = this.#options;
    const note = listChanged(kind);
    if (this.#listed.has(kind)) write(note);
    for (const [id, kinds] of this.#subscriptions) if (kinds.has(kind)) write(tagged(id, note.method));
    this.#pausing.add(kind);
    await clock.sleepUntil(addSeconds(clock.now(), PAUSE_SECONDS), this.#stopped.signal).catch(() => {});
    this.#pausing.delete(kind);
    if (this.#due.delete(kind) && !this.#stopped.signal.aborted) void this.#say(kind);
  }
}
