/** The three answers of a policy. `reason` is a sentence for the operator's `explain`, the record and the caller. */

export interface Allowed {
  readonly allow: true;
  /** The rule that allows; of what is observed the rule that denies, undefined if none allows it. */
  readonly rule: string | undefined;
  readonly reason: string;
  /** Set if the rules deny it, and it passes because the server's `observe` stands. */
  readonly observed?: true;
}

export interface Denied {
  readonly allow: false;
  readonly ask?: undefined;
  /** The rule that denies; undefined if no rule allows. */
  readonly rule: string | undefined;
  readonly reason: string;
  /** The result of a rule that asks for an approval. */
  readonly approval?: 'nobody';
  /** Set if a rule allows it, and its caller is above a rate: when it is no longer, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** Allowed once somebody approves. `allow` is false, so code that knows no approvals denies. */
export interface Asked {
  readonly allow: false;
  readonly ask: true;
  readonly rule: string;
  readonly reason: string;
}

export type Decision = Allowed | Denied | Asked;

/** The decision without approvals: an ask is denied. */
export function closed(decision: Decision): Allowed | Denied {
  if (decision.allow || decision.ask === undefined) return decision;
  const { rule, reason } = decision;
  return { allow: false, rule, reason: `${reason}; nobody can approve it here`, approval: 'nobody' };
}
