/** `apply`: makes the given resources the whole set in force, or shows what that would change. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ApplyResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { type Command, type Io, MisuseError } from '@chancery/shared/cli.ts';
import { ensure, refusalOf } from '@chancery/shared/errors.ts';
import type { ResourceFile } from '../registry/resources.ts';
import { callOperator } from './admin.ts';
import { CONFIG_FLAG, JSON_FLAG, printJson } from './flags.ts';

export const FILE_FLAG = {
  file: {
    type: 'string',
    short: 'f',
    multiple: true,
    value: 'PATH',
    says: 'A YAML file, or a folder whose .yaml and .yml files are read; repeatable.',
  },
} as const;

export const SHARED_IDS_FLAG = {
  'allow-shared-server-ids': {
    type: 'boolean',
    says: "Accept templates that can give a server's SPIFFE ID on another platform.",
  },
} as const;

export const apply: Command = {
  says: 'Replaces the set in force by the given resources; removes all others.',
  flags: {
    ...FILE_FLAG,
    'dry-run': { type: 'boolean', says: 'Only show what would change.' },
    ...SHARED_IDS_FLAG,
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const given = invocation.texts('file');
    if (given.length === 0) throw new MisuseError('-f is required');
    const dryRun = invocation.has('dry-run');
    const answer = await callOperator(invocation, (client) => client.apply, {
      files: readFiles(given),
      dryRun,
      allowSharedServerIds: invocation.has('allow-shared-server-ids'),
    });
    printWarnings(io, answer.warnings);
    if (invocation.has('json')) printJson(io, answer);
    else printChanges(io, answer, dryRun);
    return 0;
  },
};

export function printWarnings(io: Io, warnings: readonly string[]): void {
  for (const each of warnings) io.err(`warning: ${each}\n`);
}

/** Throws file. */
export function readFiles(given: readonly string[]): ResourceFile[] {
  try {
    return given.flatMap((path) => filesAt(path).map((name) => ({ name, text: readFileSync(name, 'utf8') })));
  } catch (error) {
    throw refusalOf(error, 'file', error instanceof Error ? error.message : String(error));
  }
}

function filesAt(path: string): readonly string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => /\.ya?ml$/.test(name));
  // An empty set would take every name away; whoever means that can give an empty file.
  ensure(names.length > 0, 'file', `${path} has no .yaml or .yml file`);
  return names.toSorted().map((name) => join(path, name));
}

function printChanges(io: Io, { changes, version }: ApplyResponse, dryRun: boolean): void {
  for (const { change, kind, name, diff } of changes) {
    io.out(`${change} ${kind}/${name}\n`);
    io.out(`${diff.replaceAll(/^/gm, '  ')}\n`);
  }
  const what =
    changes.length === 0
      ? 'nothing changes'
      : `${changes.length} ${changes.length === 1 ? 'change' : 'changes'}`;
  io.out(
    dryRun
      ? `${what}; version ${version} stays in force (dry run)\n`
      : `${what}; version ${version} is in force\n`,
  );
}
