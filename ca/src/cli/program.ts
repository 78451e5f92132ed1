/** The command line of chancery-ca. */
import type { Program } from '@chancery/shared/cli/program.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { audit } from './audit/audit.ts';
import { acceptLoss } from './backup/accept-loss.ts';
import { backup } from './backup/backup.ts';
import { restore } from './backup/restore.ts';
import { bundle } from './bundle.ts';
import { ceremony } from './ceremony/ceremony.ts';
import { check } from './check/check.ts';
import { withElapsed } from './elapsed.ts';
import { init } from './init.ts';
import { keys } from './keys/keys.ts';
import { login } from './login/login.ts';
import { apply } from './operator/apply.ts';
import { explain } from './operator/explain.ts';
import { agents, exportSet, get, issued } from './operator/queries.ts';
import { reach } from './operator/reach.ts';
import { revocations, revoke, unrevoke } from './operator/revoke.ts';
import { countersign } from './review/countersign.ts';
import { release } from './review/release.ts';
import { review } from './review/review.ts';
import { authorities } from './rotation/authorities.ts';
import { rotate } from './rotation/rotate.ts';
import { taint } from './rotation/taint.ts';
import { type ServeCommandDeps, serve } from './serve.ts';

/** All commands by name; `runProgram` runs one of them. `version` is what --version prints. */
export function caProgram(given: Omit<ServeCommandDeps, 'version'>, version: string): Program {
  const deps = { ...given, version };
  return {
    name: 'chancery-ca',
    says: 'a certificate authority for workloads that prove their platform',
    version,
    commands: told({
      init: init({ ...deps, log: silentLog }),
      serve: serve(deps),
      login,
      apply,
      get,
      export: exportSet,
      explain,
      reach,
      agents,
      issued,
      revoke,
      revocations,
      unrevoke,
      review,
      countersign,
      'accept-loss': acceptLoss,
      release,
      audit,
      authorities,
      rotate,
      taint,
      bundle,
      backup: backup(deps),
      restore: restore(deps),
      keys,
      ceremony: ceremony(deps),
      check: check(deps),
    }),
  };
}

/** `serve` has a log, and `login` says what it waits for. */
const told = (commands: Program['commands']): Program['commands'] =>
  Object.fromEntries(
    Object.entries(commands).map(([name, command]) => [
      name,
      name === 'serve' || name === 'login' ? command : withElapsed(name, command),
    ]),
  );
