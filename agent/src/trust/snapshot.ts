/** The resources of a snapshot, read again on this side: what the agent enforces it has parsed itself. */
import { IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import { z } from 'zod';

const Resource = z.discriminatedUnion('kind', [McpServer, Access]);

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
