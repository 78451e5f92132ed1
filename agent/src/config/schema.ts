/** The keys of the agent's config. The reference page is printed from these sentences. */
import { resolve } from 'node:path';
import { by, hostPort, text } from '@chancery/shared/config/schema.ts';
import { healthAddress } from '@chancery/shared/health/address.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';
import { EvidenceConfig } from '../evidence/index.ts';
import { ConnectConfig, GatewayConfig } from './mcp.ts';
import { OutputConfig } from './outputs.ts';
import { TelemetryConfig } from './telemetry.ts';

const file = z.string().min(1);

const parsed = <T>(parse: (text: string) => T) => z.string().transform(by(parse));

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
  telemetry: TelemetryConfig.optional().describe(
    'Spans and durations of MCP calls for OpenTelemetry; without it OTEL_EXPORTER_OTLP_ENDPOINT counts.',
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
