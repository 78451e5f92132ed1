/** The reference pages of docs/, printed from what the programs themselves read: schemas, refusals, usage. */
import { agentProgram } from '@chancery/agent/cli/program.ts';
import { AgentConfig } from '@chancery/agent/config.ts';
import { caProgram } from '@chancery/ca/cli/program.ts';
import { CaConfig } from '@chancery/ca/config.ts';
import { Resource } from '@chancery/ca/registry/resources.ts';
import { commandUsage, type Program, usageOf } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { textOf } from './repository.ts';
import { keyTable, schemaOf } from './schema-table.ts';

/** Pages by their path from the root. */
export const pages = (): Readonly<Record<string, string>> => ({
  'docs/config.md': configPage(),
  'docs/resources.md': resourcesPage(),
  'docs/errors.md': errorsPage(),
  'docs/cli.md': cliPage(),
});

const PRINTED = '<!-- Printed by `npm run generate`; what to change is named in test/house/reference.ts. -->';

function page(title: string, ...parts: readonly string[]): string {
  return `${[`# ${title}`, PRINTED, ...parts].join('\n\n')}\n`;
}

const configPage = (): string =>
  page(
    'Config',
    'Each program reads one YAML file, once, at its start. An unknown key, a missing one or a value that does ' +
      'not fit is refused: all problems are listed together, each with its line, and the program ends with status 2. ' +
      'Lengths of time are written `20s`, `15m`, `1h`, `7d`. Secrets are named by the path of a file, ' +
      'never written here.',
    '## chancery-ca',
    '`--config FILE`, else `./ca.yaml`, else `/etc/chancery/ca.yaml`. `chancery-ca init` writes one; ' +
      '`chancery-ca check` reads it and changes nothing.',
    keyTable(schemaOf(CaConfig)),
    '## chancery-agent',
    '`--config FILE`, else `./agent.yaml`, else `/etc/chancery/agent.yaml`. ' +
      '`ca` has exactly one of `bundle` and `pin`; `evidence` names exactly one platform.',
    keyTable(schemaOf(AgentConfig)),
  );

const resourcesPage = (): string =>
  page(
    'Resources',
    'YAML documents, applied as one set: `chancery-ca apply -f FILE-OR-FOLDER` replaces the whole set in force by ' +
      'the given resources, and removes all others. `--dry-run` only shows the difference. An unknown key is refused.',
    ...(schemaOf(Resource).oneOf ?? []).flatMap((kind) => [
      `## ${String(kind.properties?.['kind']?.const)}`,
      ...(kind.description === undefined ? [] : [kind.description]),
      keyTable(kind),
    ]),
  );

function errorsPage(): string {
  const rows = Object.entries(REFUSALS).map(([code, { grpc, says }]) => ({
    code,
    grpc,
    says,
    group: groupOf(code),
  }));
  const groups = Map.groupBy(rows, ({ group }) => group);
  const tables = [...groups].flatMap(([group, members]) => [
    `## ${group}`,
    [
      '| code | gRPC status | sentence for the peer |',
      '|---|---|---|',
      ...members.map(({ code, grpc, says }) => `| \`${code}\` | ${grpc} | ${says} |`),
    ].join('\n'),
  ]);
  return page(
    'Refusals',
    'All refusals of Chancery. The code and a detail are in the audit log and the operational log. ' +
      'The peer gets the gRPC status and a sentence that many codes share, so that it does not learn the reason. ' +
      'On the admin socket the operator gets the detail.',
    ...tables,
  );
}

/** The table groups its codes by comments. */
function groupOf(code: string): string {
  const text = textOf('shared/src/ground/errors.ts');
  const before = text.slice(0, text.indexOf(`  ${code}: {`));
  return before.slice(before.lastIndexOf('\n  // ') + '\n  // '.length).split('\n')[0] ?? '';
}

const cliPage = (): string =>
  page(
    'Command lines',
    'Exit statuses: 0 done, 1 refused or failed, 2 misused (an unknown flag, a config that cannot be read), 129, ' +
      '130, 131 and 143 if SIGHUP, SIGINT, SIGQUIT or SIGTERM ended an unfinished command. ' +
      '`exec` exits with the status of its command.',
    ...programs().flatMap((program) => [
      `## ${program.name}`,
      fenced(usageOf(program)),
      ...Object.entries(program.commands).flatMap(([name, command]) => [
        `### ${program.name} ${name}`,
        fenced(commandUsage(program, name, command)),
      ]),
    ]),
  );

const fenced = (text: string): string => `\`\`\`text\n${text.trimEnd()}\n\`\`\``;

/** Only asked for their usage: nothing here runs. */
export function programs(): readonly Program[] {
  const deps = {
    clock: systemClock,
    ownUid: 0,
    logAt: () => silentLog,
  };
  const ca = caProgram({ ...deps, random: (size) => new Uint8Array(size) }, '');
  const agent = agentProgram(
    {
      ...deps,
      random: () => 0,
      randomBytes: (size) => new Uint8Array(size),
      platform: 'linux',
      ownPid: 0,
      signalProcess: () => {},
      version: '',
      self: () => ['chancery-agent'],
      stdio: () => ({ input: process.stdin, output: process.stdout }),
    },
    '',
  );
  return [ca, agent];
}
