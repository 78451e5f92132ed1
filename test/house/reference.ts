/** The reference pages of docs/, printed from what the programs themselves read: schemas, refusals, usage. */
import { agentProgram } from '@chancery/agent/cli/program.ts';
import { AgentConfig } from '@chancery/agent/config/schema.ts';
import { createAgentMetrics } from '@chancery/agent/health/metrics.ts';
import { WIRE } from '@chancery/agent/mcp/wire/answer/reply.ts';
import { caProgram } from '@chancery/ca/cli/program.ts';
import { CaConfig } from '@chancery/ca/config.ts';
import { createMetrics, type MetricSources } from '@chancery/ca/health/metrics.ts';
import { type Need, VERBS } from '@chancery/ca/operator/roles.ts';
import { Resource } from '@chancery/ca/registry/resources.ts';
import { commandUsage, type Program, usageOf } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { MetricDefinition } from '@chancery/shared/health/definition.ts';
import { parse } from 'yaml';
import { textOf } from './repository.ts';
import { keyTable, schemaOf } from './schema-table.ts';

/** Pages by their path from the root. */
export const pages = (): Readonly<Record<string, string>> => ({
  'docs/config.md': configPage(),
  'docs/resources.md': resourcesPage(),
  'docs/errors.md': errorsPage(),
  'docs/cli.md': cliPage(),
  'docs/metrics.md': metricsPage(),
  'docs/operators.md': operatorsPage(),
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
    '## Over MCP',
    'What a client of MCP gets instead, from `connect` or the gateway. A denied call is in an HTTP 200, with -31403, ' +
      'or -31429 above a rate ([a denied call](mcp.md#a-denied-call)). Any other code is HTTP 500, -32603.',
    [
      '| code | HTTP status | JSON-RPC code |',
      '|---|---|---|',
      ...Object.entries(WIRE).map(([code, [status, rpc]]) => `| \`${code}\` | ${status} | ${rpc} |`),
    ].join('\n'),
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

/** The table of commands; the rest is written by hand. */
function operatorsPage(): string {
  const [begin, end] = [PRINTED, '<!-- /printed -->'];
  const [before = '', rest = ''] = textOf('docs/operators.md').split(begin);
  const asked = Object.values<Need>(VERBS).filter(({ here }) => here !== true);
  const commands = asked.toSorted((a, b) => (a.command < b.command ? -1 : 1));
  const rows = commands.map((need) => [
    `\`${need.command}\``,
    [need.role, ...(need.owners === true ? ['owners for their part'] : [])].join(', '),
    need.fresh ?? '-',
    need.alone === true ? '-' : (need.fresh ?? '-'),
  ]);
  const each = [...new Map(rows.map((row) => [row.join(), row])).values()];
  const head = ['command', 'role', 'sign-in of the last 5 minutes', 'a second person, with `twoPeople`'];
  return `${before}${begin}\n\n${table(head, each)}\n\n${end}${rest.slice(rest.indexOf(end) + end.length)}`;
}

/** One alert of deploy/prometheus/rules.yaml. */
interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly action: string };
}

/** Every alert, in its order. */
export function alerts(): readonly Alert[] {
  const rules = parse(textOf('deploy/prometheus/rules.yaml')) as {
    readonly groups: readonly { readonly rules: readonly Alert[] }[];
  };
  return rules.groups.flatMap((group) => group.rules);
}

/** What a CA and an agent expose; nothing is measured. */
export const metricDefinitions = () => ({
  'chancery-ca': createMetrics({} as MetricSources).definitions(),
  'chancery-agent': createAgentMetrics(
    () => {
      throw new Error('not measured');
    },
    () => new Date(0),
    {
      ...{ staleIn: () => undefined, spool: () => undefined, observing: () => 0, sessions: () => [] },
      silent: () => undefined,
    },
  ).definitions(),
});

const metricsPage = (): string =>
  page(
    'Metrics and alerts',
    'Where `http` is configured, each program answers `GET /metrics` there in the format of Prometheus: what ' +
      'follows, and what the client library measures of the process (`process_`, `nodejs_`).',
    ...Object.entries(metricDefinitions()).flatMap(([program, metrics]) => [
      `## Metrics of ${program}`,
      metricTable(metrics),
    ]),
    '## Alerts',
    'The file `deploy/prometheus/rules.yaml` has these rules, for `rule_files` of Prometheus. Bounds fit the ' +
      'defaults of the [config](config.md): change them with `x509.ttl`, `intermediateTtl`, `crl.ttl` and ' +
      '`limits`. A rule whose metric nobody exposes is silent, so `ChanceryCaAbsent` says that no CA is scraped. ' +
      'A machine whose agent has ended has no metrics: alert on `up` of its job, too.',
    table(
      ['alert', 'severity', 'when', 'what to do'],
      alerts().map(({ alert, labels, expr, annotations, ...rule }) => [
        `\`${alert}\``,
        labels.severity,
        `\`${expr.replaceAll(/\s+/g, ' ')}\`${rule.for === undefined ? '' : ` for ${rule.for}`}`,
        annotations.action,
      ]),
    ),
  );

const metricTable = (metrics: readonly MetricDefinition[]): string =>
  table(
    ['metric', 'type', 'labels', 'meaning'],
    metrics
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, type, labels, help }) => [
        `\`${name}\``,
        type,
        labels.map((label) => `\`${label}\``).join(', '),
        help,
      ]),
  );

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|').trim()).join(' | ')} |`)
    .join('\n');

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
