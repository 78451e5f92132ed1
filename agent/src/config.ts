/** The agent's config: one YAML file, read once, strictly. The reference page is printed from these sentences. */
import { dirname, resolve } from 'node:path';
import { readConfigFile } from '@chancery/shared/config/config-file.ts';
import { by, hostPort, text } from '@chancery/shared/config/schema.ts';
import { Problems, readDocuments } from '@chancery/shared/config/yaml.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { healthAddress } from '@chancery/shared/health/address.ts';
import { parseSpiffeId, parseTrustDomain, trustDomainOf } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { overlap } from '@chancery/shared/text/address.ts';
import { socketPathProblem } from '@chancery/shared/text/socket-path.ts';
import { z } from 'zod';
import { EvidenceConfig } from './evidence/index.ts';
import { ConnectConfig, GatewayConfig } from './mcp-config.ts';

const file = z.string().min(1);

const parsed = <T>(parse: (text: string) => T) => z.string().transform(by(parse));

/** Linux has 32 bits for a uid or gid, and the last number means "do not change" (chown(2)). */
const id = z.int().min(0).max(4_294_967_294);

const OutputConfig = z.strictObject({
  dir: file.describe(
    'Folder for svid.pem, key.pem and bundle.pem, switched together. Relative to this file.',
  ),
  mode: text('a file mode such as "0600", in quotes,')
    .regex(/^0[0-7]{3}$/, { error: 'a file mode such as 0600 or 0640, in quotes', abort: true })
    .regex(/0$/, 'a file mode such as 0600 or 0640 is expected: only the owner and the group may have rights')
    .default('0600')
    .describe('Mode of key.pem, in quotes; the other two are public: 0644.'),
  chain: z
    .enum(['short', 'full'])
    .optional()
    .describe(
      'What svid.pem has: `short` up to the root in bundle.pem, or `full`, also for peers that trust only a CA ' +
        'above the root, where the CA has its cross-certificate (default: short).',
    ),
  crl: z
    .boolean()
    .optional()
    .describe('Also writes crl.pem, 0644: the revocation lists (CRL) of all issuers (default: false).'),
  uid: id.optional().describe("Owner of the files (default: the agent's own)."),
  gid: id.optional().describe("Group of the files (default: the agent's own)."),
  command: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(
      'Run after each change: a program and its arguments, without a shell, at most 30 s. ' +
        'What it leaves running ends with it.',
    ),
  signal: z
    .strictObject({
      pidFile: file.describe(
        'Where the process writes its pid. Of root, the agent or the owner of the files. Relative to this file.',
      ),
      name: z.enum(['SIGHUP', 'SIGUSR1', 'SIGUSR2']).default('SIGHUP').describe('The signal.'),
      program: z
        .string()
        .min(1)
        .optional()
        .describe('The name of its program, as ps shows it; another program is not signalled.'),
    })
    .optional()
    .describe('Sent after each change, to a process that runs as uid, or as the agent if uid is not set.'),
});

export const AgentConfig = z.strictObject({
  trustDomain: parsed(parseTrustDomain).describe('The trust domain of the CA.'),
  ca: z
    .strictObject({
      address: hostPort.describe('Where the CA serves.'),
      bundle: file
        .optional()
        .describe('PEM file or SPIFFE bundle that the CA is verified by. Relative to this file.'),
      pin: text('64 hexadecimal digits, in quotes,')
        .regex(
          /^[0-9a-f]{64}$/,
          'SHA-256 of the root public key (SubjectPublicKeyInfo), 64 lower-case hexadecimal digits',
        )
        .optional()
        .describe("Instead of a bundle: SHA-256 of the root's SubjectPublicKeyInfo."),
      socket: file
        .optional()
        .describe("The CA's join.sock; needed for the unix platform. Relative to this file."),
    })
    .refine(
      ({ bundle, pin }) => (bundle === undefined) !== (pin === undefined),
      'set `bundle` or `pin`, not both, so that the agent can verify the CA',
    )
    .describe('The certificate authority.'),
  platform: z
    .literal('auto')
    .optional()
    .describe('Finds the platform by itself; chancery-agent doctor shows which.'),
  evidence: EvidenceConfig.optional().describe(
    'Instead of platform: how this workload proves itself. Several must all pass.',
  ),
  id: parsed(parseSpiffeId).optional().describe('The SPIFFE ID to request, if the evidence earns several.'),
  dataDir: file.describe('What a restart without the CA needs; 0700. Relative to this file.'),
  outputs: z.array(OutputConfig).max(16).default([]).describe('Files for programs that read certificates.'),
  gateway: GatewayConfig.optional().describe('Mutual TLS in front of an MCP server.'),
  connect: z.array(ConnectConfig).max(64).default([]).describe('Local addresses of MCP servers.'),
  http: healthAddress
    .optional()
    .describe(
      'Health and Prometheus metrics: plain HTTP, host:port on loopback; any address with healthOnly.',
    ),
  maxRequestBytes: z
    .int()
    .min(65_536)
    .max(268_435_456)
    .optional()
    .describe('The largest message of an MCP client that connect and the gateway read (default: 16777216).'),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The least severe line logged.'),
});

export type OutputSettings = z.infer<typeof OutputConfig>;
export type GatewaySettings = z.infer<typeof GatewayConfig>;

export type AgentSettings = z.infer<typeof AgentConfig> & {
  /** File, line and key of a value of the config; undefined if flags are the config. */
  readonly where?: (path: readonly PropertyKey[]) => string;
};

/** Absolute paths of the agent's own files: `state` holds the private key, `socket` is for `status` and `connect`. */
export const paths = (dataDir: string) => ({
  state: resolve(dataDir, 'state.json'),
  socket: resolve(dataDir, 'agent.sock'),
  spool: resolve(dataDir, 'spool'),
  crls: resolve(dataDir, 'crls'),
});

/** The config if no flag names one and there is no ./agent.yaml. */
export const SYSTEM_CONFIG = '/etc/chancery/agent.yaml';
const NOR_HERE = ', nor ./agent.yaml; name one with --config';

/** Throws config with every problem at once. */
export const readAgentConfig = (path: string): AgentSettings =>
  parseAgentConfig(readConfigFile(path, path === SYSTEM_CONFIG ? NOR_HERE : ''), path);

/** `text` is the content of `path`; relative paths in it are relative to its folder. Throws config. */
export function parseAgentConfig(text: string, path: string): AgentSettings {
  const problems = new Problems();
  const [read, ...more] = readDocuments(text, path, AgentConfig, problems);
  const value = read && absolute(read.value, dirname(resolve(path)));
  if (read !== undefined && value !== undefined) {
    for (const [key, says] of [...contradictions(read.value), ...tooLong(value)])
      problems.add(path, read.lineOf([key]), says);
    for (const [place, twin] of twice(value))
      problems.add(
        path,
        read.lineOf(place.key),
        `${place.key.join('.')}: ${twin.key.join('.')} is ${place.value}, too; each needs its own`,
      );
  }
  problems.throwIfAny('config');
  if (read === undefined || value === undefined || more.length > 0)
    throw new IdentityError(
      'config',
      `${path}: expected one YAML document with trustDomain, ca, evidence, dataDir`,
    );
  const where = (key: readonly PropertyKey[]) => `${path}:${read.lineOf(key)}: ${key.join('.')}`;
  return { ...value, where };
}

type Contradiction = readonly [key: keyof AgentSettings, says: string];

/** Finds keys that are valid alone but not together. */
function contradictions(settings: AgentSettings): readonly Contradiction[] {
  const { platform, evidence, ca, id, trustDomain, ...rest } = settings;
  const found: Contradiction[] = [];
  if ((platform === undefined) === (evidence === undefined))
    found.push(['evidence', 'evidence: write either platform: auto or evidence with the platforms by name']);
  if (evidence?.unix !== undefined && ca.socket === undefined)
    found.push(['ca', 'ca.socket: the unix platform needs the path of the CA’s join.sock']);
  if (id !== undefined && trustDomainOf(id) !== trustDomain)
    found.push(['id', `id: ${id} is not of trust domain ${trustDomain}`]);
  if (id !== undefined && isReserved(id))
    found.push(['id', `id: ${id} is reserved for the trust domain itself`]);
  if (keysStayInPlatform(settings)) found.push(...beyondFiles(rest));
  return found;
}

/** Finds paths that are too long for a socket. */
function tooLong({ dataDir, ca, gateway, connect }: AgentSettings): readonly Contradiction[] {
  const upstream = gateway !== undefined && 'socket' in gateway.upstream ? gateway.upstream.socket : '';
  const local = connect.flatMap(({ listen }) => (listen.startsWith('unix:') ? [listen.slice(5)] : []));
  const sockets = [
    ['dataDir', paths(dataDir).socket],
    ['ca', ca.socket ?? ''],
    ['gateway', upstream],
    ...local.map((path) => ['connect', path] as const),
  ] as const;
  return sockets.flatMap(([key, path]) => {
    const says = socketPathProblem(path);
    return says === undefined ? [] : [[key, `${key}: ${says}`] as const];
  });
}

interface Place {
  readonly key: readonly PropertyKey[];
  readonly value: string;
}

/** Finds a folder that two outputs use, and an address that two listeners use. */
function twice({
  dataDir,
  outputs,
  http,
  gateway,
  connect,
}: AgentSettings): readonly (readonly [Place, Place])[] {
  const addresses: readonly (Place | undefined)[] = [
    { key: ['agent.sock'], value: `unix:${paths(dataDir).socket}` },
    http && { key: ['http'], value: http.listen },
    gateway && { key: ['gateway', 'listen'], value: gateway.listen },
    ...connect.map(({ listen }, index) => ({ key: ['connect', index, 'listen'], value: listen })),
  ];
  return [
    ...repeated(outputs.map(({ dir }, index) => ({ key: ['outputs', index, 'dir'], value: dir }))),
    // Each listener on port 0 gets a port of its own.
    ...repeated(addresses.filter((each) => each !== undefined).filter(({ value }) => !value.endsWith(':0'))),
  ];
}

const repeated = (places: readonly Place[]): readonly (readonly [Place, Place])[] =>
  places.flatMap((place, index) => {
    const twin = places.slice(0, index).find(({ value }) => areOne(value, place.value));
    return twin === undefined ? [] : [[place, twin] as const];
  });

/** Whether two folders, sockets or addresses are one. */
const areOne = (a: string, b: string): boolean =>
  a === b || (![a, b].some((each) => /^(unix:|\/)/.test(each)) && overlap(a, b));

const NO_STREAM =
  'an agent whose key is in the TPM has no trust stream, by which the CA sends the full chain';

/** Node's TLS cannot use a key in a TPM; other programs can, by its file. */
function beyondFiles({ gateway, connect, outputs }: Pick<AgentSettings, 'gateway' | 'connect' | 'outputs'>) {
  const found: Contradiction[] = [];
  if (gateway !== undefined) found.push(['gateway', `gateway: ${IN_MEMORY}`]);
  if (connect.length > 0) found.push(['connect', `connect: ${IN_MEMORY}`]);
  if (outputs.length === 0)
    found.push(['evidence', 'outputs: a key in the TPM is of use by its file only; name a folder for it']);
  for (const [n, { chain }] of outputs.entries())
    if (chain === 'full') found.push(['outputs', `outputs[${n}].chain: ${NO_STREAM}`]);
  return found;
}

/** True if the keys are made in the platform and stay there, so that this process cannot use them. */
export const keysStayInPlatform = ({ evidence }: Pick<AgentSettings, 'evidence'>): boolean =>
  evidence?.tpm?.key === 'tpm';

/** What to write instead. */
export const IN_MEMORY = 'this needs a key that the agent can use itself: write evidence.tpm.key: memory';

function absolute(value: AgentSettings, here: string): AgentSettings {
  const at = (path: string) => resolve(here, path);
  const maybe = <K extends string>(key: K, path: string | undefined) =>
    path === undefined ? {} : ({ [key]: at(path) } as Record<K, string>);
  const dataDir = at(value.dataDir);
  const { ca, gateway } = value;
  return {
    ...value,
    dataDir,
    ca: { ...ca, ...maybe('bundle', ca.bundle), ...maybe('socket', ca.socket) },
    outputs: value.outputs.map((output) => ({
      ...output,
      dir: at(output.dir),
      ...(output.signal === undefined
        ? {}
        : { signal: { ...output.signal, pidFile: at(output.signal.pidFile) } }),
    })),
    ...(gateway === undefined ? {} : { gateway: absoluteGateway(gateway, dataDir, at) }),
    connect: value.connect.map((each) => ({
      ...each,
      listen: each.listen.startsWith('unix:') ? `unix:${at(each.listen.slice(5))}` : each.listen,
    })),
  };
}

function absoluteGateway(
  gateway: GatewaySettings,
  dataDir: string,
  at: (path: string) => string,
): GatewaySettings {
  const { upstream } = gateway;
  return {
    ...gateway,
    records: gateway.records === false ? false : resolve(dataDir, gateway.records),
    upstream: 'socket' in upstream ? { ...upstream, socket: at(upstream.socket) } : upstream,
  };
}
