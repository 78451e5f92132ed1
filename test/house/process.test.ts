/**
 * Arguments, streams, signals and the end of the process belong to the main files and to process-io.ts. Other files use
 * of the process only what is listed here.
 */
import { expect, test } from 'vitest';
import { isTest, sources, textOf } from './repository.ts';

const OWNERS = [
  'agent/src/main.ts',
  'ca/src/main.ts',
  'shared/src/audit-verify/main.ts',
  'shared/src/cli/process-io.ts',
];

const MAY_USE: Readonly<Record<string, readonly string[]>> = {
  // A whole process group ends with its leader.
  'agent/src/mcp/upstream/stdio/child.ts': ['kill'],
  'agent/src/outputs/hook.ts': ['kill'],
  // Who this process is: files must belong to it or to root.
  'agent/src/data-dir.ts': ['geteuid'],
  'agent/src/outputs/files.ts': ['geteuid'],
  'shared/src/keys/secret-file.ts': ['geteuid'],
  'shared/src/unix/files/links.ts': ['geteuid'],
  'shared/src/unix/files/safe-folder.ts': ['geteuid'],
  'shared/src/unix/files/trusted-file.ts': ['getegid', 'geteuid'],
  // Runs before the next event of a stream.
  'agent/src/mcp/wire/http-body.ts': ['nextTick'],
  // A pod finds its API server by KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
  'ca/src/attestors/kubernetes/credentials.ts': ['env'],
  // The audit log names who restored a CA, and who replaced its key-encryption key while it did not run.
  'ca/src/cli/backup/restore.ts': ['geteuid'],
  'ca/src/cli/keys/keys.ts': ['geteuid'],
  // The answer of a browser is one of this user's.
  'ca/src/cli/login/login.ts': ['geteuid', 'platform'],
  // The longest path of a socket, and how a peer is found, depend on the system.
  'agent/src/mcp/connect/local-peer.ts': ['platform'],
  'shared/src/text/socket-path.ts': ['platform'],
  // A socket file has its mode from its first moment only by the umask.
  'shared/src/unix/private-socket.ts': ['umask'],
};

test('other files use only what is listed', () => {
  const found = sources()
    .filter((path) => /^(agent|ca|sdk|shared)\/src\//.test(path) && !isTest(path) && !OWNERS.includes(path))
    .map((path) => [path, usesOf(textOf(path))] as const)
    .filter(([, uses]) => uses.length > 0);
  expect(Object.fromEntries(found)).toEqual(MAY_USE);
});

test.each([
  ["import { env, exit as end } from 'node:process';", ['env', 'exit']],
  ["import process from 'node:process';", ['process']],
  ["const node = await import('node:process');", ['node:process']],
  ["const home = process.env['HOME'];", ['env']],
  ['globalThis.process.exit(1);', ['exit']],
  ['this.#process.kill();', []],
])('%s uses %j of the process', (text, uses) => {
  expect(usesOf(text)).toEqual(uses);
});

/** Names of the process that a file uses, sorted. */
function usesOf(text: string): readonly string[] {
  const imports = [...text.matchAll(/import (?:\{([^}]*)\}|(\w+)) from 'node:process'/g)];
  const named = imports.flatMap(([, list, whole = '']) => list?.split(',') ?? [whole]);
  const others = text.split("'node:process'").length - 1 > imports.length ? ['node:process'] : [];
  const globals = [...text.matchAll(/(?:(?<![.#\w])|globalThis\.)process\.(\w+)/g)].map(
    ([, name = '']) => name,
  );
  const names = [...named.map((name) => name.trim().split(' ')[0] ?? ''), ...others, ...globals];
  return [...new Set(names.filter((name) => name !== ''))].toSorted();
}
