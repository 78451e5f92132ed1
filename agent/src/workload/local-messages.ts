/** The messages on the agent's own socket, for both sides. */
import { z } from 'zod';
import { StoredRevocations } from '../trust/state/revocations.ts';

const bytes = z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64'));

/** One line of GET /v1/trust. */
export const TrustLine = z.strictObject({
  /** Of the agent's own SVID: a later one means that it has rotated. */
  svidNotAfter: z.iso.datetime(),
  bundle: z.strictObject({
    trustDomain: z.string(),
    authorities: z.array(bytes),
    sequence: z.string().regex(/^\d+$/),
  }),
  policy: z.strictObject({ version: z.string().regex(/^\d+$/), resources: z.array(z.string()) }),
  revocations: StoredRevocations,
});
export interface TrustLine {
  readonly svidNotAfter: string;
  readonly bundle: {
    readonly trustDomain: string;
    readonly authorities: readonly string[];
    readonly sequence: string;
  };
  readonly policy: { readonly version: string; readonly resources: readonly string[] };
  readonly revocations: StoredRevocations;
}

/** The answer to POST /v1/svid. */
export const SvidAnswer = z.strictObject({
  id: z.string(),
  chain: z.array(bytes).min(1).max(8),
  renewAfter: z.int().describe('Seconds since 1970.'),
});

/** Instead of any answer. */
export const Refused = z.object({ code: z.string(), message: z.string() });

/** The answer to GET /v1/status; a newer agent may say more. */
export const StatusReport = z.object({
  version: z.string(),
  spiffeId: z.string().nullable().describe('Null, as the next three, before the agent has joined.'),
  serial: z.string().nullable(),
  notAfter: z.iso.datetime().nullable(),
  renewAfter: z.iso.datetime().nullable(),
  expired: z.boolean(),
  renewalFailure: z.string().nullable().describe('Why the last renewal failed.'),
  revoked: z.string().nullable().describe('Which revocation cut this identity off.'),
  trustStream: z
    .strictObject({ up: z.boolean(), since: z.iso.datetime(), failure: z.string().nullable() })
    .nullable()
    .describe('Whether the trust stream is open; null where there is none.'),
  skewSeconds: z.int().nullable().describe("How far this clock is ahead of the CA's."),
  policyVersion: z.int().nullable(),
  servers: z.array(z.string()),
  gateway: z
    .strictObject({ server: z.string().describe('The first of its servers.'), port: z.int() })
    .nullable(),
  gatewayServers: z.array(z.string()).optional().describe('All of them.'),
  connect: z.array(z.strictObject({ server: z.string(), listen: z.string() })),
  outputs: z.array(
    z.strictObject({
      dir: z.string(),
      failure: z.string().nullable().describe('Why it is not up to date.'),
    }),
  ),
  chains: z
    .array(
      z.object({
        dir: z.string(),
        certificates: z.array(
          z.object({
            subject: z.string(),
            issuer: z.string(),
            serial: z.string(),
            notAfter: z.iso.datetime(),
          }),
        ),
        lacks: z.string().nullable().describe('Why it is the short chain though the full one is wanted.'),
      }),
    )
    .optional()
    .describe('What svid.pem of each output has, leaf first; absent from an older agent.'),
  problems: z.array(z.string()).describe('Problems for an operator.'),
});
export type StatusReport = z.infer<typeof StatusReport>;
