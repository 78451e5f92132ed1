/** The plan's rooms that everybody may use. */
import { shared } from './rooms.ts';

/** What everybody's rooms may import: nothing of the CA and of the agent. */
export const SHARED: Readonly<Record<string, readonly string[]>> = {
  'shared/src/text': [],
  'shared/src/ground': shared('text'),
  'shared/src/unix': shared('text ground'),
  'shared/src/tlog': shared('ground'),
  'shared/src/cli': shared('text ground'),
  'shared/src/audit-verify': shared('ground cli tlog'),
  'shared/src/config': shared('text ground unix'),
  'shared/src/der': shared('ground'),
  'shared/src/spiffe': shared('ground der'),
  'shared/src/evidence': shared('ground'),
  'shared/src/aws': shared('ground'),
  'shared/src/door': shared('ground unix'),
  'shared/src/door/http2': shared('ground door'),
  'shared/src/rpc': shared('ground unix door'),
  'shared/src/health': shared('text ground unix config door'),
  'shared/src/keys': shared('text ground unix der'),
  'shared/src/x509': shared('ground der spiffe keys'),
  'shared/src/tpm': shared('ground der evidence x509'),
  'shared/src/tls': shared('ground der spiffe x509'),
  'shared/src/voucher': shared('ground keys tlog x509'),
  'shared/src/outbound': shared('text ground'),
  'shared/src/policy': shared('text ground spiffe'),
  'shared/src/revocation': shared('ground spiffe evidence policy'),
  'shared/src/mcp': shared('ground'),
  'shared/src/mcp/asking': shared('ground mcp'),
  'shared/src/audit': shared('ground spiffe voucher revocation'),
};
