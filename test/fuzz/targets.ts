/** Every parser that reads what a stranger, a platform or the CA has sent. */
import type { Target } from './engine.ts';
import { AWS } from './targets/aws.ts';
import { CLAIMS_TARGETS } from './targets/claims.ts';
import { CLOUDS } from './targets/clouds.ts';
import { CRL } from './targets/crl.ts';
import { DER } from './targets/der.ts';
import { EVIDENCE } from './targets/evidence.ts';
import { JSON_TARGETS } from './targets/json.ts';
import { MCP_CONDITIONS } from './targets/mcp/conditions.ts';
import { MCP_MESSAGES } from './targets/mcp/messages.ts';
import { MCP_STREAMS } from './targets/mcp/streams.ts';
import { MCP_URIS } from './targets/mcp/uris.ts';
import { TOKENS } from './targets/tokens.ts';
import { TPM } from './targets/tpm.ts';
import { TRUST } from './targets/trust.ts';

export const TARGETS: readonly Target[] = [
  ...TPM,
  ...EVIDENCE,
  ...DER,
  ...CRL,
  ...JSON_TARGETS,
  ...MCP_CONDITIONS,
  ...MCP_MESSAGES,
  ...MCP_STREAMS,
  ...MCP_URIS,
  ...TOKENS,
  ...CLAIMS_TARGETS,
  ...AWS,
  ...CLOUDS,
  ...TRUST,
];
