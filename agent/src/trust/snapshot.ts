/** A snapshot of the CA, read again on this side: what the agent enforces it has parsed itself. */
import type { Policy as PolicyMessage, WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';
import { acceptBundle } from './accept.ts';

const Resource = z.discriminatedUnion('kind', [McpServer, Access]);

export interface Snapshot {
  readonly bundle: Bundle;
  readonly policy: Policy;
  /** Those that `policy` was compiled from, as they came. */
  readonly resources: readonly string[];
}

/** A policy as it was read: it remembers its decisions, and reading the same one again would forget them. */
export interface Compiled {
  readonly message: PolicyMessage;
  readonly policy: Policy;
}

/**
 * The state after `next`, which may leave out what is as it was `before` on the same stream. What was refused then is
 * there again, and is refused again.
 */
export function completed(before: WatchResponse | undefined, next: WatchResponse): WatchResponse {
  const { policy = before?.policy, revocations = before?.revocations } = next;
  return { ...next, policy, revocations };
}

/** Throws message_parse, trust_domain, bundle, certificate_parse, policy. */
export function readSnapshot(
  { bundle, policy }: WatchResponse,
  known: Bundle,
  compiled?: Compiled | undefined,
): Snapshot {
  ensure(bundle !== undefined, 'message_parse', 'a snapshot is without its bundle');
  ensure(policy !== undefined, 'message_parse', 'a snapshot is without its policy');
  const { trustDomain, x509Authorities: authorities, sequence } = bundle;
  const next = { trustDomain: parseTrustDomain(trustDomain), authorities, sequence };
  return {
    bundle: acceptBundle(known, next),
    policy:
      compiled?.message === policy ? compiled.policy : compileSnapshot(policy.resources, policy.version),
    resources: policy.resources,
  };
}

/** Throws policy: a resource that this agent cannot read may be the one that forbids something. */
export function compileSnapshot(resources: readonly string[], version: bigint): Policy {
  return compilePolicy(resources.map(read), version);
}

function read(text: string): z.infer<typeof Resource> {
  try {
    return Resource.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof z.ZodError)
      throw new IdentityError('policy', `a resource cannot be read by this version: ${error.message}`, {
        cause: error,
      });
    throw refusalOf(error, 'policy', 'a resource is not JSON');
  }
}
