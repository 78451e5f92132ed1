/** What the store keeps of the work of operators: reviews that were signed off, and what waits for a second person. */
import type { Node } from '@chancery/shared/evidence/node.ts';
import type { RevocablePeer } from '@chancery/shared/revocation/revocation-set.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Somebody has looked at a resource as it is, and says that it may stay. */
export interface SignOff {
  readonly kind: string;
  readonly name: string;
  /** SHA-256 of the resource's JSON, hexadecimal: of another content it says nothing. */
  readonly digest: string;
  /** The resource's own, where it has one. */
  readonly reviewBy: string | undefined;
  readonly reason: string;
  readonly by: string;
}

export interface MadeSignOff extends SignOff {
  readonly at: Date;
}

/** When a certificate was last issued by each Identity. */
export interface IdentityUses {
  /** Names may be in several pages. */
  readonly list: readonly { readonly name: string; readonly at: Date }[];
  /** Undefined for the last page. */
  readonly below: number | undefined;
}

/** One use of a verb, for which a second person is needed. */
export interface RequestDraft {
  readonly verb: string;
  /** SHA-256 of the verb and all that it is given, hexadecimal. */
  readonly digest: string;
  /** For a person. */
  readonly about: string;
  /** Who asks for it: the operator's SPIFFE ID, and the name for records. */
  readonly person: SpiffeId;
  readonly by: string;
  readonly until: Date;
}

export interface StoredRequest extends RequestDraft {
  readonly number: number;
  readonly at: Date;
  /** The second person. */
  readonly countersignedBy: string | undefined;
  /** What can be revoked of the second person; undefined for root, and where nobody has countersigned it. */
  readonly countersigner: RevocablePeer | undefined;
}

/** How many requests may be open: of everybody, and of one person, who cannot keep all others out. */
export interface RequestBounds {
  readonly all: number;
  readonly each: number;
}

/** Who countersigns, or withdraws; `person` is undefined for root on the admin socket. */
export interface Countersigner {
  readonly person: SpiffeId | undefined;
  readonly peer?: RevocablePeer | undefined;
  readonly by: string;
}

export interface OperatorStore {
  /**
   * Forgets what is remembered of the node where that is `from`, with its audit entry, and nothing where it is another
   * state by now: then false.
   */
  releaseNode(node: Node, from: string, why: Pick<SignOff, 'reason' | 'by'>): Promise<boolean>;
  /** What is remembered of the nodes of a platform whose name begins so: at most 10,000. */
  nodeStates(platform: string, prefix: string): Promise<readonly string[]>;
  /** The set of resources that was in force then, JSON; undefined before the first. */
  resourcesAt(time: Date): Promise<string | undefined>;
  /** A page: uses that are on record still, the newest first, and in the last page those whose records are gone. */
  identityUses(below: number | undefined): Promise<IdentityUses>;
  /** The newest of each resource. */
  signOffs(): Promise<readonly MadeSignOff[]>;
  /** With its audit entry. */
  signOff(made: SignOff): Promise<MadeSignOff>;
  /** Those that have not ended and were not used, by their numbers. */
  requests(): Promise<readonly StoredRequest[]>;
  /**
   * The open one of this person with this digest, or else a new one, with its audit entry. Throws countersign if as
   * many are open as may be.
   */
  request(draft: RequestDraft, max: RequestBounds): Promise<StoredRequest>;
  /** Ends an open one, with its audit entry. Throws countersign for another person's; root may withdraw any. */
  withdraw(number: number, by: Countersigner): Promise<StoredRequest>;
  /** With its audit entry. Throws countersign unless it is open, not countersigned, and another person's. */
  countersign(number: number, by: Countersigner): Promise<StoredRequest>;
  /**
   * Takes the open one of this person with this digest that was countersigned, with its audit entry: once. Resolves
   * with undefined if there is none.
   */
  useRequest(digest: string, person: SpiffeId): Promise<StoredRequest | undefined>;
}
