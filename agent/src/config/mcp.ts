/** The keys of the agent's config about MCP: `gateway` and `connect`. */
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { by, DURATION, form, forms, hostPort, text } from '@chancery/shared/config/schema.ts';
import { ResourceName } from '@chancery/shared/policy/resources/fields.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';

const file = z.string().min(1);

const duration = text(DURATION).transform(by(parseDuration));

const account = z
  .union([z.string().min(1), z.int().min(0)], { error: forms('a name or a number') })
  .transform(String);

const UpstreamConfig = z
  .union(
    [
      form({
        url: z.url({ protocol: /^https?$/ }).describe('The MCP endpoint.'),
        roots: file
          .optional()
          .describe(
            'PEM file of the authorities that an https server is verified by (default: those of the system). ' +
              'Read for each connection. Relative to this file.',
          ),
        identity: z
          .string()
          .transform(by(parseSpiffeId))
          .optional()
          .describe(
            'Instead: the SPIFFE ID of an https server of this trust domain. It is shown the certificate of this ' +
              'gateway (mutual TLS), and its DNS name is not looked at.',
          ),
      }).check(({ value: { url, roots, identity }, issues }) => {
        const says = (message: string, key: string): void =>
          void issues.push({ code: 'custom', message, path: [key], input: undefined });
        const key = roots === undefined ? 'identity' : 'roots';
        if (roots !== undefined && identity !== undefined)
          says('set roots or identity, not both', 'identity');
        else if ((roots ?? identity) !== undefined && !url.startsWith('https:'))
          says('this is for a url of https', key);
      }),
      form({
        socket: file.describe('A unix socket that speaks HTTP. Relative to this file.'),
        path: z.string().startsWith('/').default('/mcp').describe('The MCP endpoint on it.'),
      }),
      form({
        command: z
          .array(z.string().min(1))
          .min(1)
          .describe('A stdio MCP server: a program and its arguments, without a shell.'),
        env: z
          .array(z.string().min(1))
          .default([])
          .describe('Names of variables of the agent that it gets besides PATH, HOME, LANG and the like.'),
        user: account
          .optional()
          .describe(
            'User that runs the command, by name or uid. Required if the agent is root, else refused.',
          ),
        group: account.optional().describe('And this group, by name or gid (default: that of the user).'),
      }),
    ],
    {
      error: forms(
        'a map with url (and roots or identity), or with socket and path, or with command, env, user and group',
      ),
    },
  )
  .describe('The unchanged MCP server: a url, a socket or a command.');

const MIN_STALENESS_SECONDS = 60;

const ReportConfig = form({
  maxBytes: z
    .int()
    .min(1024 * 1024)
    .max(1024 ** 4)
    .default(256 * 1024 * 1024)
    .describe('Of records that the CA does not have yet, in dataDir/spool.'),
});

const Sessions = z.strictObject({
  max: z.int().min(1).max(100_000).optional().describe('At most (default: 64 of a command, else 5000).'),
  perCaller: z.int().min(1).max(100_000).optional().describe('Of one caller (default: half of max).'),
  idle: duration.prefault('1h').describe('An unused session ends after this time.'),
});

const FreeText = z.strictObject({
  instructions: z.boolean().default(true).describe('Its instructions to clients.'),
  logs: z.boolean().default(true).describe('Its log messages.'),
});

const Server = ResourceName.describe('The McpServer resource of this gateway, where it has one.');

/** What is of one server, with the sentence about each key. */
const OF_A_SERVER = {
  sessions: Sessions.optional().describe(
    'Sessions of legacy clients. If all are in use, a new one is refused.',
  ),
  maxCallDuration: duration
    .optional()
    .describe(
      'How long a call may last if it continues under a renewed certificate of its caller (default: 24h).',
    ),
  freeText: FreeText.optional().describe(
    'Free text of the server, which may name tools that a caller may not call.',
  ),
};

const ServerConfig = z.strictObject({
  server: ResourceName.describe('The McpServer resource. Callers use the path /mcp/ and this name.'),
  upstream: UpstreamConfig,
  ...OF_A_SERVER,
});

/** Each has a part of the memory for messages. */
const MAX_SERVERS = 16;

/** One server of a gateway. */
export interface ServerSettings {
  readonly server: string;
  readonly upstream: z.infer<typeof UpstreamConfig>;
  readonly sessions?: z.infer<typeof Sessions> | undefined;
  /** Seconds. */
  readonly maxCallDuration: number;
  readonly freeText: z.infer<typeof FreeText>;
}

const DAY = 86_400;

const withDefaults = (server: z.infer<typeof ServerConfig>): ServerSettings => ({
  ...server,
  maxCallDuration: server.maxCallDuration ?? DAY,
  freeText: server.freeText ?? { instructions: true, logs: true },
});

/** `gateway` of the config. What is of one server is a list, also where the file has its keys beside `listen`. */
export const GatewayConfig = z
  .strictObject({
    server: Server.optional(),
    listen: hostPort.describe('Where callers reach it: MCP over mutual TLS.'),
    upstream: UpstreamConfig.optional(),
    ...OF_A_SERVER,
    servers: z
      .array(ServerConfig)
      .min(1)
      .max(MAX_SERVERS)
      .optional()
      .describe('Instead of server and upstream: several servers, with the keys above, at one address.'),
    chain: z
      .enum(['short', 'full'])
      .optional()
      .describe(
        'What callers are shown, as outputs[].chain: `full` also for callers that verify this gateway by a CA ' +
          'above the root alone (default: short).',
      ),
    maxStaleness: duration
      .refine(
        (seconds) => seconds >= MIN_STALENESS_SECONDS,
        'at least 1m is expected: a restart of the CA takes less',
      )
      .optional()
      .describe(
        'After so long without its CA the gateway takes no new calls, at least 1m (default: it goes on).',
      ),
    records: z
      .union([file, z.literal(false)], { error: forms('a file, or false') })
      .default('calls.jsonl')
      .describe(
        'One JSON line for each decision and each answer, 0600. In dataDir unless absolute. false: no file.',
      ),
    report: z
      .union([ReportConfig, z.literal(false)], { error: forms('a map with maxBytes, or false') })
      .prefault({})
      .describe('Delivers the same records to the audit log of the CA, unless it is false.'),
  })
  .refine(({ records, report }) => records !== false || report !== false, {
    path: ['records'],
    error: 'records and report are both false: calls would leave no record anywhere',
  })
  .transform(({ server, upstream, sessions, maxCallDuration, freeText, servers, ...shared }, context) => {
    const own = { server, upstream, sessions, maxCallDuration, freeText };
    const says = (message: string, ...path: readonly PropertyKey[]): void =>
      context.addIssue({ code: 'custom', message, path: [...path] });
    if (servers !== undefined) {
      for (const [key, value] of Object.entries(own))
        if (value !== undefined) says('this belongs into an entry of servers where there are servers', key);
      for (const [n, each] of servers.entries()) {
        const twin = servers.findIndex((other) => other.server === each.server);
        if (twin < n) says(`servers.${twin}.server is ${each.server}, too`, 'servers', n, 'server');
      }
    } else {
      if (server === undefined) says('missing (the name of an McpServer is expected, or servers)', 'server');
      if (upstream === undefined) says('missing (a url, a socket or a command is expected)', 'upstream');
    }
    const one = server === undefined || upstream === undefined ? [] : [{ ...own, server, upstream }];
    const [first, ...more] = (servers ?? one).map(withDefaults);
    if (first === undefined) return z.NEVER;
    const all: readonly [ServerSettings, ...ServerSettings[]] = [first, ...more];
    return { ...shared, servers: all };
  });

/** An entry of `connect` of the config. */
export const ConnectConfig = z.strictObject({
  server: ResourceName.describe('The McpServer resource to reach.'),
  listen: z
    .string()
    .regex(/^(unix:.+|127\.0\.0\.1:[0-9]{1,5})$/, 'expected unix:PATH or 127.0.0.1:PORT')
    .describe('Local address for MCP clients of this user: unix:PATH or 127.0.0.1:PORT.'),
});
