/** Streams on which legacy clients listen: a client whose list of tools a new policy changes is told so. */
import type { Notification } from '@chancery/shared/mcp/message.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

interface Listener {
  readonly caller: SpiffeId;
  readonly tell: (notification: Notification) => void;
  rules: string;
}

const CHANGED: Notification = {
  kind: 'notification',
  method: 'notifications/tools/list_changed',
  params: undefined,
};

export class Listeners {
  readonly #open = new Set<Listener>();
  readonly #server: string;

  constructor(server: string) {
    this.#server = server;
  }

  /** Returns what ends it. */
  add(caller: SpiffeId, policy: Policy, tell: Listener['tell']): () => void {
    const listener = { caller, tell, rules: this.#rulesOf(policy, caller) };
    this.#open.add(listener);
    return () => this.#open.delete(listener);
  }

  policyChanged(policy: Policy): void {
    for (const listener of this.#open) {
      const rules = this.#rulesOf(policy, listener.caller);
      if (rules === listener.rules) continue;
      listener.rules = rules;
      listener.tell(CHANGED);
    }
  }

  #rulesOf(policy: Policy, caller: SpiffeId): string {
    const { allow, deny } = policy.rulesFor(caller, this.#server);
    return JSON.stringify([allow, deny].map((lines) => lines.map(({ pattern }) => pattern.text)));
  }
}
