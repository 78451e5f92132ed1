/**
 * The plan of the house. A room is a folder, or a file where one file of a folder stands on another stair than its
 * neighbours. A room may import itself and the rooms named here, all of which stand above it in this list.
 */

/** Of names with a space between them. */
const shared = (names: string): readonly string[] => names.split(' ').map((name) => `shared/src/${name}`);

const SHARED: Readonly<Record<string, readonly string[]>> = {
  'shared/src/text': [],
  'shared/src/ground': shared('text'),
  'shared/src/unix': shared('text ground'),
  'shared/src/cli': shared('text ground'),
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
  'shared/src/outbound': shared('text ground'),
  'shared/src/policy': shared('text ground spiffe'),
  'shared/src/revocation': shared('ground spiffe evidence policy'),
  'shared/src/mcp': shared('ground'),
  'shared/src/audit': shared('ground spiffe revocation'),
};

const PROTO = 'proto/src/gen';

/** `ca` and `agent` never meet; within each, siblings that are not named here get values from serve.ts or run.ts. */
const CA: Readonly<Record<string, readonly string[]>> = {
  'ca/src/store/sqlite/holders': shared('ground evidence'),
  'ca/src/store': shared('ground spiffe evidence revocation audit'),
  'ca/src/store/sqlite': [
    ...shared('text ground unix spiffe evidence keys revocation audit'),
    'ca/src/store',
    'ca/src/store/sqlite/holders',
  ],
  'ca/src/agents': [...shared('ground spiffe evidence'), 'ca/src/store'],
  'ca/src/tokens': shared('ground outbound'),
  'ca/src/attestors': [
    ...shared('text ground unix config der spiffe evidence aws x509 tpm outbound'),
    'ca/src/tokens',
  ],
  'ca/src/authority': [...shared('ground unix spiffe evidence keys x509'), 'ca/src/store'],
  'ca/src/registry': [...shared('ground config spiffe evidence policy'), 'ca/src/store'],
  'ca/src/impact': [...shared('ground spiffe'), 'ca/src/agents', 'ca/src/registry'],
  'ca/src/revocation': [...shared('ground spiffe evidence revocation'), 'ca/src/store', 'ca/src/agents'],
  'ca/src/succession': [...shared('ground spiffe evidence x509'), PROTO, 'ca/src/store', 'ca/src/revocation'],
  'ca/src/door': shared('ground evidence door door/http2 health audit'),
  'ca/src/operator': [
    ...shared('ground unix spiffe revocation audit'),
    'ca/src/store',
    'ca/src/agents',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/impact',
    'ca/src/revocation',
  ],
  'ca/src/rpc': [
    ...shared('text ground unix spiffe evidence door door/http2 rpc keys x509 tls revocation audit'),
    PROTO,
    'ca/src/store',
    'ca/src/agents',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/revocation',
    'ca/src/succession',
    'ca/src/door',
    'ca/src/operator',
  ],
  'ca/src/health': ['ca/src/authority'],
  'ca/src/config.ts': [...shared('text ground unix config spiffe health'), 'ca/src/attestors'],
  'ca/src/upkeep.ts': [
    ...shared('ground spiffe keys x509'),
    'ca/src/store',
    'ca/src/agents',
    'ca/src/authority',
    'ca/src/revocation',
  ],
  'ca/src/serve.ts': [
    ...shared('text ground unix spiffe evidence door rpc health keys outbound audit'),
    'ca/src/store',
    'ca/src/store/sqlite',
    'ca/src/agents',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/revocation',
    'ca/src/succession',
    'ca/src/door',
    'ca/src/rpc',
    'ca/src/health',
    'ca/src/config.ts',
    'ca/src/upkeep.ts',
    'ca/src/operator',
  ],
  'ca/src/cli': [
    ...shared('text ground unix cli config der spiffe evidence keys x509 outbound revocation'),
    PROTO,
    'ca/src/store',
    'ca/src/store/sqlite',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/config.ts',
    'ca/src/serve.ts',
  ],
  'ca/src/main.ts': [...shared('ground cli'), 'ca/src/cli'],
};

const AGENT: Readonly<Record<string, readonly string[]>> = {
  'agent/src/evidence': [...shared('text ground unix der spiffe evidence aws keys x509 tpm outbound')],
  'agent/src/svid': [
    ...shared('text ground spiffe evidence keys x509 tls revocation'),
    PROTO,
    'agent/src/evidence',
  ],
  'agent/src/trust': [
    ...shared('text ground unix config der spiffe keys x509 tls policy revocation'),
    PROTO,
    'agent/src/svid',
  ],
  'agent/src/config.ts': [...shared('text ground config spiffe health'), 'agent/src/evidence'],
  'agent/src/data-dir.ts': shared('ground unix'),
  'agent/src/agent.ts': [
    ...shared('ground der spiffe x509 policy'),
    'agent/src/data-dir.ts',
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
  ],
  'agent/src/outputs': [...shared('text ground unix cli der spiffe keys tls'), 'agent/src/config.ts'],
  'agent/src/workload': [
    ...shared('ground unix spiffe keys x509 policy revocation'),
    PROTO,
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/agent.ts',
  ],
  'agent/src/mcp/call-event.ts': shared('ground spiffe mcp'),
  'agent/src/mcp/wire': shared('text ground unix door policy mcp'),
  'agent/src/mcp/upstream': [...shared('ground cli spiffe door mcp'), 'agent/src/mcp/wire'],
  'agent/src/mcp/gateway': [
    ...shared('ground spiffe door health x509 tls policy revocation mcp audit'),
    'agent/src/mcp/call-event.ts',
    'agent/src/mcp/wire',
    'agent/src/mcp/upstream',
  ],
  'agent/src/mcp/connect': [
    ...shared('text ground unix spiffe door x509 tls policy revocation mcp audit'),
    'agent/src/mcp/wire',
    'agent/src/mcp/upstream',
  ],
  'agent/src/mcp': [
    ...shared('text ground spiffe door x509 tls policy revocation mcp'),
    'agent/src/mcp/call-event.ts',
    'agent/src/mcp/wire',
    'agent/src/mcp/upstream',
    'agent/src/mcp/gateway',
    'agent/src/mcp/connect',
  ],
  'agent/src/addresses.ts': [...shared('text'), 'agent/src/mcp/connect'],
  'agent/src/open-mcp.ts': [
    ...shared('text ground unix'),
    'agent/src/trust',
    'agent/src/config.ts',
    'agent/src/agent.ts',
    'agent/src/outputs',
    'agent/src/mcp/call-event.ts',
    'agent/src/mcp/upstream',
    'agent/src/mcp',
    'agent/src/addresses.ts',
  ],
  'agent/src/health': [...shared('health'), 'agent/src/workload', 'agent/src/mcp/call-event.ts'],
  'agent/src/status.ts': [
    ...shared('ground spiffe x509 policy revocation'),
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
    'agent/src/agent.ts',
    'agent/src/outputs',
    'agent/src/workload',
  ],
  'agent/src/free-ports.ts': [...shared('text ground unix'), 'agent/src/config.ts'],
  'agent/src/run.ts': [
    ...shared('text health'),
    'agent/src/config.ts',
    'agent/src/data-dir.ts',
    'agent/src/agent.ts',
    'agent/src/outputs',
    'agent/src/workload',
    'agent/src/open-mcp.ts',
    'agent/src/health',
    'agent/src/status.ts',
    'agent/src/free-ports.ts',
  ],
  'agent/src/cli': [
    ...shared('text ground unix cli config spiffe policy revocation'),
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
    'agent/src/agent.ts',
    'agent/src/outputs',
    'agent/src/workload',
    'agent/src/mcp/upstream',
    'agent/src/mcp',
    'agent/src/addresses.ts',
    'agent/src/free-ports.ts',
    'agent/src/run.ts',
  ],
  'agent/src/main.ts': [...shared('ground unix cli'), 'agent/src/cli'],
};

const SDK: Readonly<Record<string, readonly string[]>> = { 'sdk/src': [] };

const PRODUCT: Readonly<Record<string, readonly string[]>> = {
  ...SHARED,
  [PROTO]: [],
  ...CA,
  ...AGENT,
  ...SDK,
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

/**
 * The longest entry of the plan that is the file or a folder above it; undefined for a file that has no room. A unit
 * test stands in the room of what it tests.
 */
export function roomOf(path: string): string | undefined {
  const subject = path.replace(/\.test\.ts$/, '.ts');
  return Object.keys(MAY_IMPORT)
    .filter((room) => subject === room || subject.startsWith(`${room}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}
