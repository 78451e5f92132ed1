/** Flags that several commands share. */
import { existsSync } from 'node:fs';
import { type Flag, type Invocation, MisuseError } from '@chancery/shared/cli/program.ts';
import { ResourceName } from '@chancery/shared/policy/resources/fields.ts';
import { SYSTEM_CONFIG } from '../config/read.ts';

export const CONFIG_FLAG = {
  config: {
    type: 'string',
    short: 'c',
    value: 'FILE',
    says: `The agent's config (default: ./agent.yaml, else ${SYSTEM_CONFIG}).`,
  },
} as const satisfies Record<string, Flag>;

/** The path of --config; else ./agent.yaml if it exists, else the path of the system's config. */
export function configFile(invocation: Invocation): string {
  return invocation.text('config') ?? (existsSync('agent.yaml') ? 'agent.yaml' : SYSTEM_CONFIG);
}

/** Throws MisuseError for a NAME that no `McpServer` can have. */
export const ensureServerName = (name: string): void => ensureName(`NAME ${name}`, name);

/** Throws MisuseError, which begins with `what`, for a name that no resource and no scope can have. */
export function ensureName(what: string, name: string): void {
  const { error } = ResourceName.safeParse(name);
  if (error !== undefined) throw new MisuseError(`${what}: ${error.issues[0]?.message}`);
}
