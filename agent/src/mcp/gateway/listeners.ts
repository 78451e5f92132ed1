/**
 * Streams on which clients listen: a client is notified when a new policy changes its list of tools. If its session has
 * no open stream at that moment, it is notified on its next one.
 */
import type { Notification } from '@chancery/shared/mcp/message.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Which client listens. The session is any object that lives as long as the session. */
interface Hearer {
  readonly caller: SpiffeId;
  readonly session: object | undefined;
}

interface Listener extends Hearer {
  readonly tell: (notification: Notification) => void;
  rules: string;
}

const CHANGED: Notification = {
  kind: 'notification',
  method: 'notifications/tools/list_changed',
  params: undefined,
};

/** Notifies listening clients when a new policy changes their list of tools. One for each gateway. */
export class Listeners {
  readonly #open = new Set<Listener>();
  readonly #server: string;
  /** The rules behind the list that the client of a session has. */
  readonly #known = new WeakMap<object, string>();

  constructor(server: string) {
    this.#server = server;
  }

  /** Notes that the client of this session has no list yet, or asks for one under these rules. */
  begun(session: object, caller: SpiffeId, policy: Policy): void {
    this.#known.set(session, this.#rulesOf(policy, caller));
  }

  /** The returned function removes it. */
  add({ caller, session }: Hearer, policy: Policy, tell: Listener['tell']): () => void {
    const rules = this.#rulesOf(policy, caller);
    const known = (session && this.#known.get(session)) ?? rules;
    const listener = { caller, session, tell, rules: known };
    this.#open.add(listener);
    this.#tellIfNew(listener, rules);
    return () => this.#open.delete(listener);
  }

  /** Notifies each client whose list of tools changes under this policy. */
  policyChanged(policy: Policy): void {
    for (const listener of this.#open) this.#tellIfNew(listener, this.#rulesOf(policy, listener.caller));
  }

  #tellIfNew(listener: Listener, rules: string): void {
    if (rules === listener.rules) return;
    listener.rules = rules;
    if (listener.session !== undefined) this.#known.set(listener.session, rules);
    listener.tell(CHANGED);
  }

  #rulesOf(policy: Policy, caller: SpiffeId): string {
    return policy.rulesFor(caller, this.#server).listing('tool');
  }
}
