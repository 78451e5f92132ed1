/**
 * Tells the client of changed lists: at most once a second for each kind, so that no server can make it list all day.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import { claimedVersion } from '@chancery/shared/mcp/era.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import type { Id, Message, Request } from '@chancery/shared/mcp/message.ts';

export interface ChangesOptions {
  readonly clock: Clock;
  /** Writes to the client. */
  write(message: Message): boolean;
}

const KINDS = ['tools', 'prompts', 'resources'] as const;
type Kind = (typeof KINDS)[number];
const PAUSE_SECONDS = 1;
const MAX_SUBSCRIPTIONS = 64;
const ID_KEY = 'io.modelcontextprotocol/subscriptionId';

const kindOf = (method: ListMethod): Kind => KINDS.find((kind) => method.startsWith(kind)) ?? 'tools';
const filterOf = (kind: Kind): string => `${kind}ListChanged`;

/** `stop` ends it. */
export class Changes {
  readonly #options: ChangesOptions;
  readonly #stopped = new AbortController();
  /** What a legacy client has listed: of other changes it does not care. */
  readonly #listed = new Set<Kind>();
  /** Lists that are being put together, which will have the change. */
  readonly #open = new Map<ListMethod, number>();
  readonly #subscriptions = new Map<Id, ReadonlySet<Kind>>();
  readonly #pausing = new Set<Kind>();
  readonly #due = new Set<Kind>();

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** The lists that a notification of a server is about. Undefined for any other notification. */
  of(method: string): readonly ListMethod[] | undefined {
    return CHANGED[method];
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
  async listen({ id, params }: Request, signal: AbortSignal): Promise<JsonObject> {
    const filter = params?.['notifications'];
    ensure(isJsonObject(filter), 'mcp_parse', 'subscriptions/listen has no notifications');
    ensure(
      this.#subscriptions.size < MAX_SUBSCRIPTIONS,
      'rate',
      `${MAX_SUBSCRIPTIONS} subscriptions are open`,
    );
    const kinds = new Set(KINDS.filter((kind) => filter[filterOf(kind)] === true));
    this.#subscriptions.set(id, kinds);
    const notifications = Object.fromEntries([...kinds].map((kind) => [filterOf(kind), true]));
    const acknowledged = 'notifications/subscriptions/acknowledged';
    const own = { notifications, _meta: { [ID_KEY]: id } };
    this.#options.write({ kind: 'notification', method: acknowledged, params: own });
    const until = AbortSignal.any([signal, this.#stopped.signal]);
    if (!until.aborted)
      await new Promise<void>((resolve) => until.addEventListener('abort', () => resolve(), { once: true }));
    this.#subscriptions.delete(id);
    return { _meta: { [ID_KEY]: id } };
  }

  /** Ends all subscriptions. */
  stop(): void {
    this.#stopped.abort();
  }

  async #say(kind: Kind): Promise<void> {
    const { clock, write } = this.#options;
    const note = { kind: 'notification', method: `notifications/${kind}/list_changed` } as const;
    if (this.#listed.has(kind)) write({ ...note, params: undefined });
    for (const [id, kinds] of this.#subscriptions)
      if (kinds.has(kind)) write({ ...note, params: { _meta: { [ID_KEY]: id } } });
    this.#pausing.add(kind);
    await clock.sleepUntil(addSeconds(clock.now(), PAUSE_SECONDS), this.#stopped.signal).catch(() => {});
    this.#pausing.delete(kind);
    if (this.#due.delete(kind) && !this.#stopped.signal.aborted) void this.#say(kind);
  }
}

const CHANGED: Readonly<Record<string, readonly ListMethod[]>> = {
  'notifications/tools/list_changed': ['tools/list'],
  'notifications/prompts/list_changed': ['prompts/list'],
  'notifications/resources/list_changed': ['resources/list', 'resources/templates/list'],
};
