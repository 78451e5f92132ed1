/** The resources in force at the running CA. */
import type { Invocation } from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Resource } from '../../registry/resources.ts';
import { callOperator } from './admin.ts';

/** Attempts to read a set that does not change in between. */
const TRIES = 5;

/** One set, page by page; of a kind and a name where they are given. Throws unavailable. */
export async function inForce(
  invocation: Invocation,
  { kind = '', name = '' }: { readonly kind?: string; readonly name?: string } = {},
): Promise<{ readonly resources: readonly Resource[]; readonly version: bigint }> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const resources: Resource[] = [];
    let [after, version]: [string, bigint | undefined] = ['', undefined];
    do {
      const page = await callOperator(invocation, (client) => client.listResources, { kind, name, after });
      version ??= page.version;
      if (page.version !== version) version = undefined;
      else resources.push(...page.resources.map((text) => JSON.parse(text) as Resource));
      after = page.next;
    } while (after !== '' && version !== undefined);
    if (version !== undefined) return { resources, version };
  }
  throw new IdentityError('unavailable', 'the resources changed while they were read; try again');
}
