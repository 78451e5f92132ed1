/** The plan's rooms of the agent. */
import { agent, PROTO, shared } from './rooms.ts';

/** The agent's rooms, which never meet the CA's. Siblings that are not named here get values from run.ts. */
export const AGENT: Readonly<Record<string, readonly string[]>> = {
  'agent/src/evidence': shared('text ground unix der spiffe evidence aws keys x509 tpm outbound'),
  'agent/src/svid': [
    ...shared('text ground spiffe evidence keys x509 tls revocation'),
    PROTO,
    ...agent('evidence'),
  ],
  'agent/src/trust': [
    ...shared('ground unix der spiffe tlog x509 revocation voucher'),
    PROTO,
    ...agent('svid'),
  ],
  'agent/src/trust/state': [
    ...shared('text ground tlog config spiffe keys x509 voucher policy revocation'),
    PROTO,
    ...agent('trust'),
  ],
  'agent/src/trust/stream': [
    ...shared('ground spiffe x509 policy revocation'),
    PROTO,
    ...agent('svid trust trust/state'),
  ],
  'agent/src/trust/crl': [...shared('ground spiffe keys x509'), PROTO, ...agent('svid')],
  'agent/src/config': [...shared('text ground config spiffe health policy'), ...agent('evidence')],
  'agent/src/data-dir.ts': shared('ground unix'),
  'agent/src/agent.ts': [
    ...shared('ground spiffe x509'),
    ...agent('evidence svid trust trust/state trust/stream config data-dir.ts'),
  ],
  'agent/src/open-crls.ts': agent('svid trust/crl config agent.ts'),
  'agent/src/spool': [...shared('text ground unix spiffe audit'), PROTO, ...agent('svid')],
  'agent/src/outputs': [...shared('text ground unix cli der spiffe keys x509 tls'), ...agent('config')],
  'agent/src/workload': [
    ...shared('ground unix spiffe keys x509 policy revocation'),
    PROTO,
    ...agent('svid trust/state agent.ts'),
  ],
  'agent/src/mcp/spans.ts': shared('spiffe mcp'),
  'agent/src/telemetry': [...shared('ground audit mcp'), ...agent('config mcp/spans.ts')],
  'agent/src/mcp/call-event.ts': shared('ground spiffe mcp audit'),
  'agent/src/mcp/wire/answer': shared('text ground policy mcp'),
  'agent/src/mcp/wire': shared('ground unix door mcp'),
  'agent/src/mcp/upstream': [...shared('ground unix der spiffe revocation mcp'), ...agent('mcp/wire/answer')],
  'agent/src/mcp/upstream/http': [
    ...shared('ground spiffe door x509 tls revocation mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream'),
  ],
  'agent/src/mcp/upstream/stdio': [
    ...shared('ground cli spiffe door mcp'),
    ...agent('mcp/wire mcp/upstream'),
  ],
  'agent/src/mcp/gateway/judge': shared('ground policy mcp mcp/asking'),
  'agent/src/mcp/gateway': [
    ...shared('ground spiffe door keys x509 policy revocation mcp mcp/asking'),
    ...agent('mcp/wire'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/gateway/peers': [
    ...shared('ground spiffe door health x509 tls revocation policy'),
    ...agent('mcp/wire'),
  ],
  'agent/src/mcp/gateway/records': [
    ...shared('ground x509 policy mcp audit'),
    ...agent('mcp/call-event.ts mcp/gateway/judge mcp/gateway'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/gateway/exchange': [
    ...shared('ground spiffe x509 policy mcp mcp/asking'),
    ...agent('mcp/call-event.ts'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream mcp/gateway/judge mcp/gateway mcp/gateway/peers'),
    ...agent('mcp/gateway/records'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/gateway/request': [
    ...shared('ground spiffe door x509 policy mcp mcp/asking'),
    ...agent('mcp/call-event.ts'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream'),
    ...agent('mcp/gateway/judge mcp/gateway mcp/gateway/peers mcp/gateway/records'),
    ...agent('mcp/gateway/exchange'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/connect': [
    ...shared('text ground unix spiffe door x509 tls policy revocation mcp audit'),
    ...agent('mcp/wire/answer mcp/wire'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/connect/stdio': [
    ...shared('ground mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream mcp/connect'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/mcp/connect/union': [
    ...shared('ground policy mcp mcp/asking'),
    ...agent('mcp/connect mcp/connect/stdio'),
  ],
  'agent/src/mcp': [
    ...shared('text ground spiffe door x509 tls policy revocation mcp'),
    ...agent('mcp/call-event.ts mcp/wire/answer mcp/wire mcp/upstream mcp/upstream/http mcp/upstream/stdio'),
    ...agent('mcp/gateway mcp/gateway/judge mcp/gateway/peers mcp/gateway/records mcp/gateway/exchange'),
    ...agent('mcp/gateway/request mcp/connect mcp/connect/stdio mcp/connect/union'),
    ...agent('mcp/spans.ts'),
  ],
  'agent/src/addresses.ts': [...shared('text'), ...agent('mcp/connect')],
  'agent/src/open-mcp.ts': [
    ...shared('text ground unix'),
    ...agent('trust/stream config agent.ts spool outputs'),
    ...agent('mcp/call-event.ts mcp/upstream mcp/upstream/stdio mcp/gateway mcp addresses.ts'),
    ...agent('telemetry'),
  ],
  'agent/src/health': [...shared('health'), ...agent('spool workload mcp/call-event.ts')],
  'agent/src/status.ts': [
    ...shared('ground spiffe x509 policy revocation'),
    ...agent('svid trust/crl trust/stream config agent.ts spool outputs workload'),
  ],
  'agent/src/free-ports.ts': [...shared('text ground unix'), ...agent('config')],
  'agent/src/run.ts': [
    ...shared('text health'),
    ...agent('config data-dir.ts agent.ts open-crls.ts outputs workload open-mcp.ts health status.ts'),
    ...agent('spool free-ports.ts'),
  ],
  'agent/src/cli/clients': shared('ground unix cli keys audit'),
  'agent/src/cli': [
    ...shared('text ground unix cli policy revocation'),
    ...agent('evidence svid trust trust/stream config data-dir.ts agent.ts'),
    ...agent('workload mcp/upstream mcp addresses.ts free-ports.ts run.ts cli/clients'),
    ...agent('telemetry'),
  ],
  'agent/src/cli/job': [
    ...shared('text ground cli config spiffe'),
    ...agent('config agent.ts outputs run.ts cli'),
  ],
  'agent/src/cli/mcp': [
    ...shared('text ground cli policy mcp'),
    ...agent('config mcp/upstream mcp/wire mcp cli/clients cli'),
  ],
  'agent/src/cli/program.ts': [...shared('cli'), ...agent('cli cli/job cli/mcp')],
  'agent/src/main.ts': [...shared('ground unix cli'), ...agent('cli cli/program.ts')],
};
