/** Reads a snapshot of the CA: the agent parses everything that it enforces. */
import type {
  Policy as PolicyMessage,
  Revocations as RevocationsMessage,
  WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { sentence, sentencesOf } from '@chancery/shared/config/schema.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';
import { acceptBundle, ensureReadable } from '../accept.ts';

/** The state in a message of the trust stream. */
export type State = Omit<WatchResponse, 'successions' | 'takesParts'>;

const Resource = z.discriminatedUnion('kind', [McpServer, Access]);

/** A compiled policy with its message. It remembers its decisions, which compiling it again would lose. */
export interface Compiled {
  readonly message: PolicyMessage;
  readonly policy: Policy;
}

/**
 * The state after `next`, which leaves out parts that are as `before` on the same stream. A part that was refused
 * before is completed, too, and refused again. Throws out_of_order if `next` changes another state than `before`.
 */
export function completed(before: State | undefined, next: State): State {
  const { policy = before?.policy } = next;
  const known = before?.revocations;
  const revocations = next.revocations === undefined ? known : changed(known, next.revocations);
  return { ...next, policy, revocations };
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
export function bundleOf({ bundle }: State, known: Bundle): Bundle {
  ensure(bundle !== undefined, 'message_parse', 'a snapshot is without its bundle');
  const { trustDomain, x509Authorities: authorities, sequence } = bundle;
  return acceptBundle(known, { trustDomain: parseTrustDomain(trustDomain), authorities, sequence });
}

/** Compiles nothing if the message is that of `compiled`. Throws message_parse, policy. */
export function policyOf({ policy, revocations }: State, compiled?: Compiled): Compiled {
  ensure(policy !== undefined, 'message_parse', 'a snapshot is without its policy');
  // A policy is never in force without the revocations from beside it.
  ensure(revocations !== undefined, 'message_parse', 'a policy came without revocations');
  if (compiled?.message === policy) return compiled;
  return { message: policy, policy: compileSnapshot(policy.resources, policy.version) };
}

/** Throws policy: a resource that this agent cannot read may be the one that forbids something. */
export function compileSnapshot(resources: readonly string[], version: bigint): Policy {
  return compilePolicy(resources.map(read), version);
}

function read(text: string): z.infer<typeof Resource> {
  try {
    return Resource.parse(JSON.parse(text), { error: sentence });
  } catch (error) {
    if (error instanceof z.ZodError)
      throw new IdentityError('policy', `a resource cannot be read by this version: ${sentencesOf(error)}`, {
        cause: error,
      });
    throw refusalOf(error, 'policy', 'a resource is not JSON');
  }
}
