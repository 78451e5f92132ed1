/**
 * Streams on which clients listen: a client is notified when a new policy changes what one of its lists shows. If its
 * session has no open stream at that moment, it is notified on its next one.
 */
import type { Notification } from '@chancery/shared/mcp/message.ts';
import { LISTED, type Listed, listChanged } from '@chancery/shared/mcp/subscription.ts';
import type { Who } from '@chancery/shared/policy/call.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';

/** Which client listens. The session is any object that lives as long as the session. */
interface Hearer {
  readonly who: Who;
  readonly session: object | undefined;
}

/** A stream on which a client listens. */
export interface Told {
  readonly tell: (notification: Notification) => void;
  /** Ends it if the policy lets the client listen to less than it was granted. */
  readonly judgeAgain: (policy: Policy) => void;
}

interface Listener extends Hearer {
  readonly back: Told;
  rules: Listings;
}

/** What the rules say of each list. */
type Listings = Readonly<Record<Listed, string>>;

/** One of each, so that a stream that is told twice before it is open says it once. */
const CHANGED: Readonly<Record<Listed, Notification>> = {
  tool: listChanged('tool'),
  resource: listChanged('resource'),
  prompt: listChanged('prompt'),
};

/** Notifies listening clients when a new policy changes their lists. One for each server. */
export class Listeners {
  readonly #open = new Set<Listener>();
  readonly #server: string;
  /** The rules behind the lists that the client of a session has. */
  readonly #known = new WeakMap<object, Listings>();

  constructor(server: string) {
    this.#server = server;
  }

  /** Notes that the client of this session has no lists yet. */
  begun(session: object, who: Who, policy: Policy): void {
    this.#known.set(session, this.#rulesOf(policy, who));
  }

  /** The returned function removes it. */
  add({ who, session }: Hearer, policy: Policy, back: Told): () => void {
    const rules = this.#rulesOf(policy, who);
    const known = (session && this.#known.get(session)) ?? rules;
    const listener = { who, session, back, rules: known };
    this.#open.add(listener);
    this.#tellIfNew(listener, rules);
    return () => this.#open.delete(listener);
  }

  /** Ends streams that the policy allows less, and notifies each client whose lists change under it. */
  policyChanged(policy: Policy): void {
    for (const { back } of this.#open) back.judgeAgain(policy);
    for (const listener of this.#open) this.#tellIfNew(listener, this.#rulesOf(policy, listener.who));
  }

  #tellIfNew(listener: Listener, rules: Listings): void {
    const changed = LISTED.filter((listed) => rules[listed] !== listener.rules[listed]);
    if (changed.length === 0) return;
    listener.rules = rules;
    if (listener.session !== undefined) this.#known.set(listener.session, rules);
    for (const listed of changed) listener.back.tell(CHANGED[listed]);
  }

  #rulesOf(policy: Policy, who: Who): Listings {
    const rules = policy.rulesFor(who, this.#server);
    const [tool, resource, prompt] = [
      rules.listing('tool'),
      rules.listing('resource'),
      rules.listing('prompt'),
    ];
    return { tool, resource, prompt };
  }
}
