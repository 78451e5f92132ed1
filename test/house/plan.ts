/**
 * The plan of the house. A room is a folder, or a file where one file of a folder stands on another stair than its
 * neighbours. A room may import itself and the rooms named here, all of which stand above it in this list.
 */

const SHARED_GROUND = ['shared/src/kernel/libc', 'shared/src/text', 'shared/src'];

const SHARED: Readonly<Record<string, readonly string[]>> = {
  'shared/src/kernel/libc': [],
  'shared/src/text': [],
  'shared/src': ['shared/src/kernel/libc', 'shared/src/text'],
  'shared/src/der': SHARED_GROUND,
  'shared/src/spiffe': [...SHARED_GROUND, 'shared/src/der'],
  'shared/src/evidence': SHARED_GROUND,
  'shared/src/aws': SHARED_GROUND,
  'shared/src/kernel': SHARED_GROUND,
  'shared/src/door': SHARED_GROUND,
  'shared/src/health': [...SHARED_GROUND, 'shared/src/door', 'shared/src/kernel'],
  'shared/src/keys': [...SHARED_GROUND, 'shared/src/der', 'shared/src/kernel'],
  'shared/src/x509': [...SHARED_GROUND, 'shared/src/der', 'shared/src/spiffe', 'shared/src/keys'],
  'shared/src/tpm': [...SHARED_GROUND, 'shared/src/der', 'shared/src/x509', 'shared/src/evidence'],
  'shared/src/tls': [...SHARED_GROUND, 'shared/src/der', 'shared/src/spiffe', 'shared/src/x509'],
  'shared/src/outbound': SHARED_GROUND,
  'shared/src/policy': [...SHARED_GROUND, 'shared/src/spiffe'],
  'shared/src/revocation': [
    ...SHARED_GROUND,
    'shared/src/spiffe',
    'shared/src/evidence',
    'shared/src/policy',
  ],
  'shared/src/mcp': SHARED_GROUND,
  'shared/src/audit': [...SHARED_GROUND, 'shared/src/spiffe', 'shared/src/revocation'],
  'proto/src/gen': [],
};
const ALL_SHARED = Object.keys(SHARED);

/** `ca` and `agent` never meet; within each, siblings that are not named here get values from serve.ts or run.ts. */
const CA: Readonly<Record<string, readonly string[]>> = {
  'ca/src/store/sqlite/holders': ALL_SHARED,
  'ca/src/store': [...ALL_SHARED, 'ca/src/store/sqlite/holders'],
  'ca/src/tokens': ALL_SHARED,
  'ca/src/attestors': [...ALL_SHARED, 'ca/src/tokens'],
  'ca/src/authority': [...ALL_SHARED, 'ca/src/store'],
  'ca/src/registry': [...ALL_SHARED, 'ca/src/store'],
  'ca/src/impact': [...ALL_SHARED, 'ca/src/registry'],
  'ca/src/revocation': [...ALL_SHARED, 'ca/src/store'],
  'ca/src/succession': [...ALL_SHARED, 'ca/src/store', 'ca/src/revocation'],
  'ca/src/door': ALL_SHARED,
  'ca/src/rpc': [
    ...ALL_SHARED,
    'ca/src/impact',
    'ca/src/door',
    'ca/src/store',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/revocation',
    'ca/src/succession',
  ],
  'ca/src/http': [...ALL_SHARED, 'ca/src/authority'],
  'ca/src/config.ts': [...ALL_SHARED, 'ca/src/attestors'],
  'ca/src/upkeep.ts': [...ALL_SHARED, 'ca/src/store', 'ca/src/authority', 'ca/src/revocation'],
  'ca/src/serve.ts': [
    ...ALL_SHARED,
    'ca/src/door',
    'ca/src/store',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/revocation',
    'ca/src/succession',
    'ca/src/rpc',
    'ca/src/http',
    'ca/src/config.ts',
    'ca/src/upkeep.ts',
  ],
  'ca/src/cli': [
    ...ALL_SHARED,
    'ca/src/store',
    'ca/src/attestors',
    'ca/src/authority',
    'ca/src/registry',
    'ca/src/config.ts',
    'ca/src/serve.ts',
  ],
  'ca/src/main.ts': [...ALL_SHARED, 'ca/src/cli'],
};

const MCP_ROOMS = ['agent/src/mcp/call-event.ts', 'agent/src/mcp/wire', 'agent/src/mcp/upstream'];

const AGENT: Readonly<Record<string, readonly string[]>> = {
  'agent/src/evidence': ALL_SHARED,
  'agent/src/svid': [...ALL_SHARED, 'agent/src/evidence'],
  'agent/src/trust': [...ALL_SHARED, 'agent/src/svid'],
  'agent/src/config.ts': [...ALL_SHARED, 'agent/src/evidence'],
  'agent/src/agent.ts': [
    ...ALL_SHARED,
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
  ],
  'agent/src/join-once.ts': [
    ...ALL_SHARED,
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
    'agent/src/agent.ts',
  ],
  'agent/src/platform-key-agent.ts': [
    ...ALL_SHARED,
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/config.ts',
    'agent/src/agent.ts',
  ],
  'agent/src/outputs': [...ALL_SHARED, 'agent/src/config.ts'],
  'agent/src/workload': [...ALL_SHARED, 'agent/src/svid', 'agent/src/trust', 'agent/src/agent.ts'],
  'agent/src/mcp/call-event.ts': ALL_SHARED,
  'agent/src/mcp/wire': ALL_SHARED,
  'agent/src/mcp/upstream': [...ALL_SHARED, 'agent/src/mcp/wire'],
  'agent/src/mcp/gateway': [...ALL_SHARED, ...MCP_ROOMS],
  'agent/src/mcp/connect': [...ALL_SHARED, 'agent/src/mcp/wire', 'agent/src/mcp/upstream'],
  'agent/src/mcp': [...ALL_SHARED, ...MCP_ROOMS, 'agent/src/mcp/gateway', 'agent/src/mcp/connect'],
  'agent/src/addresses.ts': ['shared/src/text', 'agent/src/mcp/connect'],
  'agent/src/open-mcp.ts': [
    ...ALL_SHARED,
    'agent/src/config.ts',
    'agent/src/addresses.ts',
    'agent/src/agent.ts',
    'agent/src/outputs',
    'agent/src/mcp',
    ...MCP_ROOMS,
  ],
  'agent/src/health': [...ALL_SHARED, 'agent/src/mcp/call-event.ts', 'agent/src/workload'],
  'agent/src/status.ts': [
    ...ALL_SHARED,
    'agent/src/config.ts',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/agent.ts',
    'agent/src/platform-key-agent.ts',
    'agent/src/outputs',
    'agent/src/workload',
  ],
  'agent/src/free-ports.ts': [...ALL_SHARED, 'agent/src/config.ts'],
  'agent/src/run.ts': [
    'agent/src/addresses.ts',
    'agent/src/free-ports.ts',
    'agent/src/health',
    'agent/src/status.ts',
    'agent/src/open-mcp.ts',
    ...ALL_SHARED,
    'agent/src/config.ts',
    'agent/src/agent.ts',
    'agent/src/platform-key-agent.ts',
    'agent/src/outputs',
    'agent/src/workload',
    'agent/src/mcp/upstream',
    'agent/src/mcp/connect',
    'agent/src/mcp',
  ],
  'agent/src/cli': [
    'agent/src/addresses.ts',
    'agent/src/free-ports.ts',
    ...ALL_SHARED,
    'agent/src/config.ts',
    'agent/src/evidence',
    'agent/src/svid',
    'agent/src/trust',
    'agent/src/agent.ts',
    'agent/src/join-once.ts',
    'agent/src/outputs',
    'agent/src/workload',
    'agent/src/mcp',
    'agent/src/run.ts',
  ],
  'agent/src/main.ts': [...ALL_SHARED, 'agent/src/cli'],
};

const SDK: Readonly<Record<string, readonly string[]>> = { 'sdk/src': ALL_SHARED };

const PRODUCT: Readonly<Record<string, readonly string[]>> = { ...SHARED, ...CA, ...AGENT, ...SDK };

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
