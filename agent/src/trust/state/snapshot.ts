/** Reads a snapshot of the CA: the agent parses everything that it enforces. */
import { isDeepStrictEqual } from 'node:util';
import type {
  Policy as PolicyMessage,
  Revocations as RevocationsMessage,
  WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { sentence, sentencesOf } from '@chancery/shared/config/schema.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { endsOf, standing } from '@chancery/shared/policy/resources/until.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { readJwtAuthorities } from '@chancery/shared/spiffe/jwt-authority.ts';
import { z } from 'zod';
import { acceptBundle, ensureReadable, type IsVouched } from '../accept.ts';

/** The state in a message of the trust stream. */
export type State = Omit<WatchResponse, 'successions' | 'takesParts' | 'crls' | 'checkpoint' | 'gateways'> &
  Partial<Pick<WatchResponse, 'checkpoint'>>;

const AnyResource = z.discriminatedUnion('kind', [McpServer, Access]);

type Resource = McpServer | Access;

/** What is saved of a policy, too. */
type SentPolicy = Omit<PolicyMessage, 'note'>;

/** A policy as it was sent and as it was read. It remembers its decisions, which reading it again would lose. */
export interface ReadPolicy {
  readonly message: SentPolicy;
  readonly resources: readonly Resource[];
  /** Of all resources, whether they have ended or not. */
  readonly policy: Policy;
}

/**
 * The state after `next`, which leaves out parts that are as `before` on the same stream. A part that was refused
 * before is completed, too, and refused again. The bundle is in every message: an equal one is the same object, so that
 * it is read once. Throws out_of_order if `next` changes another state than `before`.
 */
export function completed(before: State | undefined, next: State): State {
  const { policy = before?.policy } = next;
  const known = before?.revocations;
  const revocations = next.revocations === undefined ? known : changed(known, next.revocations);
  const bundle = isDeepStrictEqual(before?.bundle, next.bundle) ? before?.bundle : next.bundle;
  return { ...next, bundle, policy, revocations };
}

function changed(known: RevocationsMessage | undefined, next: RevocationsMessage): RevocationsMessage {
  const { since, gone } = next;
  if (since === 0n) return next;
  const said = known?.sequence ?? 'nothing';
  ensure(said === since, 'out_of_order', `a change of revocations ${since} came after ${said}`);
  const over = new Set(gone);
  const kept = known?.list.filter(({ number }) => !over.has(number)) ?? [];
  return { ...next, list: [...kept, ...next.list], since: 0n, gone: [] };
}

/** Throws message_parse where an agent of this version must take neither bundle nor policy. */
export function ensureForThisVersion({ bundle, readerVersion }: State): void {
  ensureReadable({ readerVersion });
  if (bundle !== undefined) ensureReadable(bundle);
}

/** Throws message_parse, trust_domain, bundle, certificate_parse. */
export function bundleOf({ bundle }: State, known: Bundle, isVouched?: IsVouched): Bundle {
  ensure(bundle !== undefined, 'message_parse', 'a snapshot is without its bundle');
  const { trustDomain, x509Authorities: authorities, sequence } = bundle;
  // The sender is the CA by its certificate. Nothing vouches for one of them, and after a month all may be new.
  const jwtAuthorities = readJwtAuthorities(bundle.jwtAuthorities);
  const jwt = jwtAuthorities.length > 0 && { jwtAuthorities };
  const next = { trustDomain: parseTrustDomain(trustDomain), authorities, sequence, ...jwt };
  return acceptBundle(known, next, isVouched);
}

/** Reads nothing again if the message is that of `before`. Throws message_parse, policy. */
export function policyOf({ policy, revocations }: State, before?: ReadPolicy): ReadPolicy {
  ensure(policy !== undefined, 'message_parse', 'a snapshot is without its policy');
  // A policy is never in force without the revocations from beside it.
  ensure(revocations !== undefined, 'message_parse', 'a policy came without revocations');
  return before?.message === policy ? before : readPolicy(policy);
}

/** Throws policy: a resource that this agent cannot read may be the one that forbids something. */
export function readPolicy(message: SentPolicy): ReadPolicy {
  const resources = message.resources.map(read);
  return { message, resources, policy: compilePolicy(resources, message.version) };
}

/** What is saved of it. */
export const savedPolicy = ({ version, resources }: SentPolicy): SentPolicy => ({ version, resources });

/** How many of its resources have ended by `now`. */
export const endedIn = ({ resources }: Pick<ReadPolicy, 'resources'>, now: Date): number =>
  resources.flatMap(endsOf).filter((end) => end <= now).length;

/** The policy without what has ended by `now`. It does not throw: `readPolicy` has compiled it all. */
export function policyAt({ resources, policy }: ReadPolicy, now: Date): Policy {
  const kept = standing(resources, now);
  const isWhole = kept.length === resources.length && kept.every((each, at) => each === resources[at]);
  return isWhole ? policy : compilePolicy(kept, policy.version);
}

/** Both at once. Throws policy. */
export const compileSnapshot = (resources: readonly string[], version: bigint, now: Date): Policy =>
  policyAt(readPolicy({ resources: [...resources], version }), now);

function read(text: string): Resource {
  try {
    return AnyResource.parse(JSON.parse(text), { error: sentence });
  } catch (error) {
    if (error instanceof z.ZodError)
      throw new IdentityError('policy', `a resource cannot be read by this version: ${sentencesOf(error)}`, {
        cause: error,
      });
    throw refusalOf(error, 'policy', 'a resource is not JSON');
  }
}
