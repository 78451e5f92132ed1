/** The plan of the house: each room (a folder, or one file of it), and the rooms above it that it may import. */

const roomsOf =
  (folder: string) =>
  (names: string): readonly string[] =>
    names.split(' ').map((name) => `${folder}/${name}`);
const shared = roomsOf('shared/src');
const ca = roomsOf('ca/src');
const agent = roomsOf('agent/src');

const SHARED: Readonly<Record<string, readonly string[]>> = {
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
  'shared/src/audit': shared('ground spiffe voucher revocation'),
};

const PROTO = 'proto/src/gen';

/** `ca` and `agent` never meet; within each, siblings that are not named here get values from serve.ts or run.ts. */
const CA: Readonly<Record<string, readonly string[]>> = {
  'ca/src/store/sqlite/holders': shared('ground evidence'),
  'ca/src/store': shared('ground spiffe evidence keys revocation audit'),
  'ca/src/store/sqlite/tables': [
    ...shared('text ground spiffe evidence keys revocation audit'),
    ...ca('store'),
  ],
  'ca/src/store/sqlite': [
    ...shared('ground unix spiffe evidence keys revocation audit'),
    ...ca('store store/sqlite/holders store/sqlite/tables'),
  ],
  'ca/src/log': [...shared('ground unix tlog audit-verify spiffe keys'), ...ca('store')],
  'ca/src/agents': [...shared('ground spiffe evidence revocation'), ...ca('store')],
  'ca/src/tokens': shared('ground outbound'),
  'ca/src/attestors': [
    ...shared('text ground unix config der spiffe evidence aws x509 tpm outbound'),
    ...ca('tokens'),
  ],
  'ca/src/keys/pkcs11': shared('ground unix keys'),
  'ca/src/keys': [...shared('ground unix config keys'), ...ca('store keys/pkcs11')],
  'ca/src/authority': [...shared('ground spiffe evidence keys x509 voucher'), ...ca('store keys')],
  'ca/src/ceremony': [...shared('ground unix der spiffe keys x509'), ...ca('store keys authority')],
  'ca/src/registry/identity': shared('ground config spiffe evidence policy'),
  'ca/src/registry': [...shared('ground config spiffe policy'), ...ca('store registry/identity')],
  'ca/src/impact': [...shared('ground spiffe'), ...ca('agents registry/identity registry')],
  'ca/src/rotation': [...shared('ground spiffe x509 revocation audit'), ...ca('store agents authority')],
  'ca/src/revocation': [...shared('ground spiffe evidence revocation'), ...ca('store agents')],
  'ca/src/crl': [...shared('ground health keys x509 revocation'), ...ca('store keys authority')],
  'ca/src/succession': [...shared('ground spiffe evidence x509'), PROTO, ...ca('store revocation')],
  'ca/src/door': shared('ground evidence door door/http2 health audit'),
  'ca/src/operator': [
    ...shared('text ground unix spiffe policy revocation audit'),
    ...ca('store agents authority registry/identity registry impact rotation revocation ceremony'),
  ],
  'ca/src/sign-in': [
    ...shared('text ground spiffe evidence x509 outbound policy'),
    ...ca('store agents tokens authority revocation operator'),
  ],
  'ca/src/rpc': [...shared('text ground unix spiffe door rpc x509 tls audit'), ...ca('door operator')],
  'ca/src/rpc/exchange': [
    ...shared('ground spiffe evidence door x509 revocation'),
    PROTO,
    ...ca('store agents attestors authority registry/identity registry revocation succession door rpc'),
  ],
  'ca/src/rpc/trust': [
    ...shared('ground spiffe evidence revocation'),
    PROTO,
    ...ca('log agents authority registry crl succession door rpc rpc/exchange'),
  ],
  'ca/src/rpc/report': [...shared('ground evidence audit'), PROTO, ...ca('store registry rpc rpc/exchange')],
  'ca/src/rpc/operator': [
    ...shared('ground spiffe evidence revocation audit'),
    PROTO,
    ...ca('store agents registry rotation ceremony door operator sign-in rpc'),
  ],
  'ca/src/rpc/server.ts': [
    ...shared('door door/http2 rpc audit'),
    ...ca('door rpc rpc/exchange rpc/trust rpc/report rpc/operator'),
  ],
  'ca/src/health': [...shared('health'), ...ca('authority')],
  'ca/src/config.ts': [...shared('text ground unix config spiffe health'), ...ca('attestors keys sign-in')],
  'ca/src/own-certificate.ts': [...shared('ground spiffe keys x509'), ...ca('agents authority revocation')],
  'ca/src/upkeep.ts': [...shared('ground'), ...ca('store authority revocation own-certificate.ts')],
  'ca/src/measure.ts': [
    ...shared('ground'),
    ...ca('store log agents authority registry rotation revocation crl door health'),
  ],
  'ca/src/open-keys.ts': [...shared('keys'), ...ca('keys config.ts')],
  'ca/src/open-log.ts': [...shared('ground keys'), ...ca('store log config.ts')],
  'ca/src/serve.ts': [
    ...shared('text ground unix spiffe door rpc health outbound audit'),
    ...ca('store store/sqlite agents tokens attestors keys authority registry rotation revocation ceremony'),
    ...ca('succession sign-in open-keys.ts open-log.ts crl door operator rpc rpc/exchange rpc/server.ts'),
    ...ca('config.ts own-certificate.ts upkeep.ts measure.ts'),
  ],
  'ca/src/backup': [...shared('text ground unix tlog keys'), ...ca('store store/sqlite config.ts')],
  'ca/src/cli': [
    ...shared('text ground unix cli der spiffe keys x509 outbound'),
    PROTO,
    ...ca('store store/sqlite attestors keys authority ceremony registry config.ts'),
    ...ca('open-keys.ts open-log.ts serve.ts'),
  ],
  'ca/src/cli/login': [
    ...shared('text ground unix cli der spiffe keys x509 tls outbound'),
    PROTO,
    ...ca('sign-in cli'),
  ],
  'ca/src/cli/operator': [
    ...shared('ground unix cli tlog audit-verify config spiffe evidence revocation audit'),
    PROTO,
    ...ca('agents registry config.ts open-log.ts cli cli/login'),
  ],
  'ca/src/cli/rotation': [...shared('ground unix cli keys'), PROTO, ...ca('cli cli/operator')],
  'ca/src/cli/review': [...shared('text ground cli'), PROTO, ...ca('cli cli/operator')],
  'ca/src/cli/backup': [
    ...shared('ground cli audit-verify'),
    ...ca('backup store/sqlite config.ts open-log.ts cli cli/operator'),
  ],
  'ca/src/cli/keys': [...shared('cli'), ...ca('keys config.ts cli')],
  'ca/src/cli/ceremony': [...shared('ground cli config der spiffe keys'), ...ca('ceremony')],
  'ca/src/cli/program.ts': [
    ...shared('ground cli'),
    ...ca('cli cli/login cli/operator cli/rotation cli/review cli/backup cli/keys cli/ceremony'),
  ],
  'ca/src/main.ts': [...shared('ground cli'), ...ca('cli/program.ts')],
};

const AGENT: Readonly<Record<string, readonly string[]>> = {
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
    ...shared('text ground tlog config spiffe keys x509 policy revocation'),
    PROTO,
    ...agent('trust'),
  ],
  'agent/src/trust/stream': [
    ...shared('ground spiffe x509 policy revocation'),
    PROTO,
    ...agent('svid trust trust/state'),
  ],
  'agent/src/trust/crl': [...shared('ground spiffe x509'), PROTO, ...agent('svid')],
  'agent/src/mcp-config.ts': shared('config policy'),
  'agent/src/config.ts': [...shared('text ground config spiffe health'), ...agent('evidence mcp-config.ts')],
  'agent/src/data-dir.ts': shared('ground unix'),
  'agent/src/agent.ts': [
    ...shared('ground spiffe x509'),
    ...agent('evidence svid trust trust/state trust/stream config.ts data-dir.ts'),
  ],
  'agent/src/open-crls.ts': agent('svid trust/crl config.ts agent.ts'),
  'agent/src/spool': [...shared('text ground unix spiffe audit'), PROTO, ...agent('svid')],
  'agent/src/outputs': [...shared('text ground unix cli der spiffe keys tls'), ...agent('config.ts')],
  'agent/src/workload': [
    ...shared('ground unix spiffe keys x509 policy revocation'),
    PROTO,
    ...agent('svid trust/state agent.ts'),
  ],
  'agent/src/mcp/call-event.ts': shared('ground spiffe mcp'),
  'agent/src/mcp/wire/answer': shared('text ground policy mcp'),
  'agent/src/mcp/wire': shared('ground unix door mcp'),
  'agent/src/mcp/upstream': [...shared('ground spiffe mcp'), ...agent('mcp/wire/answer')],
  'agent/src/mcp/upstream/http': [
    ...shared('ground door mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream'),
  ],
  'agent/src/mcp/upstream/stdio': [
    ...shared('ground cli spiffe door mcp'),
    ...agent('mcp/wire mcp/upstream'),
  ],
  'agent/src/mcp/gateway': [...shared('ground spiffe door x509 policy mcp'), ...agent('mcp/wire')],
  'agent/src/mcp/gateway/peers': [
    ...shared('ground spiffe door health x509 tls revocation'),
    ...agent('mcp/wire'),
  ],
  'agent/src/mcp/gateway/records': [
    ...shared('ground x509 policy mcp audit'),
    ...agent('mcp/call-event.ts mcp/gateway'),
  ],
  'agent/src/mcp/gateway/exchange': [
    ...shared('ground spiffe x509 policy mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream mcp/gateway mcp/gateway/peers mcp/gateway/records'),
  ],
  'agent/src/mcp/gateway/request': [
    ...shared('ground x509 policy mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream'),
    ...agent('mcp/gateway mcp/gateway/peers mcp/gateway/records mcp/gateway/exchange'),
  ],
  'agent/src/mcp/connect': [
    ...shared('text ground unix spiffe door x509 tls policy revocation mcp audit'),
    ...agent('mcp/wire/answer mcp/wire'),
  ],
  'agent/src/mcp/connect/stdio': [
    ...shared('ground mcp'),
    ...agent('mcp/wire/answer mcp/wire mcp/upstream mcp/connect'),
  ],
  'agent/src/mcp': [
    ...shared('text ground spiffe door x509 tls policy revocation mcp'),
    ...agent('mcp/call-event.ts mcp/wire/answer mcp/wire mcp/upstream mcp/upstream/http mcp/upstream/stdio'),
    ...agent('mcp/gateway mcp/gateway/peers mcp/gateway/records mcp/gateway/exchange'),
    ...agent('mcp/gateway/request mcp/connect mcp/connect/stdio'),
  ],
  'agent/src/addresses.ts': [...shared('text'), ...agent('mcp/connect')],
  'agent/src/open-mcp.ts': [
    ...shared('text ground unix'),
    ...agent('trust/stream config.ts agent.ts spool outputs'),
    ...agent('mcp/call-event.ts mcp/upstream mcp/upstream/stdio mcp addresses.ts'),
  ],
  'agent/src/health': [...shared('health'), ...agent('spool workload mcp/call-event.ts')],
  'agent/src/status.ts': [
    ...shared('ground spiffe x509 policy revocation'),
    ...agent('svid trust/crl trust/stream config.ts agent.ts spool outputs workload'),
  ],
  'agent/src/free-ports.ts': [...shared('text ground unix'), ...agent('config.ts')],
  'agent/src/run.ts': [
    ...shared('text health'),
    ...agent('config.ts data-dir.ts agent.ts open-crls.ts outputs workload open-mcp.ts health status.ts'),
    ...agent('spool free-ports.ts'),
  ],
  'agent/src/cli': [
    ...shared('text ground unix cli policy revocation'),
    ...agent('evidence svid trust trust/stream config.ts data-dir.ts agent.ts'),
    ...agent('workload mcp/upstream mcp addresses.ts free-ports.ts run.ts'),
  ],
  'agent/src/cli/job': [
    ...shared('text ground cli config spiffe'),
    ...agent('config.ts agent.ts outputs run.ts cli'),
  ],
  'agent/src/cli/program.ts': [...shared('cli'), ...agent('cli cli/job')],
  'agent/src/main.ts': [...shared('ground unix cli'), ...agent('cli cli/program.ts')],
};

const PRODUCT: Readonly<Record<string, readonly string[]>> = {
  ...SHARED,
  [PROTO]: [],
  ...CA,
  ...AGENT,
  'sdk/src': [],
};

/** What unit tests of a room may import besides: rooms above it that its product code must not use. */
export const UNIT_TESTS_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'ca/src/rotation': shared('keys'),
  'ca/src/log': shared('voucher audit'),
  'ca/src/crl': [...shared('spiffe'), ...ca('revocation')],
  'ca/src/sign-in': shared('keys'),
  'ca/src/own-certificate.ts': ca('rotation'),
  'ca/src/rpc/exchange': shared('keys'),
  'ca/src/rpc/trust': shared('keys x509'),
  'ca/src/rpc/operator': [...shared('keys x509'), ...ca('attestors authority rpc/exchange rpc/trust')],
  'ca/src/rpc/server.ts': [PROTO],
  'agent/src/trust': shared('tls'),
  'agent/src/trust/crl': shared('keys'),
  'agent/src/agent.ts': shared('der policy'),
  'agent/src/mcp/upstream/http': shared('spiffe'),
  'agent/src/mcp/gateway/request': agent('mcp/call-event.ts'),
  'agent/src/status.ts': agent('trust/state'),
};

/** Test rooms see the whole product and the kit, and nothing of each other; e2e checks what the demo tells. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  'test/kit': Object.keys(PRODUCT),
  'test/demo': [...Object.keys(PRODUCT), 'test/kit'],
  'test/e2e': [...Object.keys(PRODUCT), 'test/kit', 'test/demo'],
  ...Object.fromEntries(
    ['attacks', 'bench', 'fuzz', 'house', 'interop', 'mutate', 'vectors'].map(
      (name) => [`test/${name}`, [...Object.keys(PRODUCT), 'test/kit']] as const,
    ),
  ),
};

export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = { ...PRODUCT, ...TESTS };
