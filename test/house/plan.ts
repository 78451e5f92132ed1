/** The plan of the house: each room (a folder, or one file of it), and the rooms above it that it may import. */
import { AGENT } from './plan/agent.ts';
import { CA } from './plan/ca.ts';
import { agent, ca, PROTO, shared } from './plan/rooms.ts';
import { SHARED } from './plan/shared.ts';

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
  'ca/src/log': shared('audit'),
  'ca/src/crl': [...shared('spiffe'), ...ca('revocation')],
  'ca/src/offline': shared('der'),
  'ca/src/cross': shared('der keys'),
  'ca/src/recovery': ca('store/sqlite'),
  'ca/src/sign-in': shared('keys'),
  'ca/src/own-certificate.ts': ca('rotation'),
  'ca/src/rpc/exchange': shared('keys'),
  'ca/src/rpc/trust': shared('keys x509'),
  'ca/src/rpc/operator': [...shared('keys'), ...ca('attestors authority rpc/exchange rpc/trust')],
  'ca/src/rpc/server.ts': [PROTO],
  'agent/src/trust': shared('tls'),
  'agent/src/agent.ts': shared('der policy'),
  'agent/src/status.ts': agent('trust/state'),
};

/** Test rooms see the product and the kit, and nothing of each other; e2e checks the demo, and guides the pages. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  'test/kit': Object.keys(PRODUCT),
  'test/demo': [...Object.keys(PRODUCT), 'test/kit'],
  'test/e2e': [...Object.keys(PRODUCT), 'test/kit', 'test/demo'],
  ...Object.fromEntries(
    ['attacks', 'bench', 'fuzz', 'house', 'interop', 'mutate', 'vectors'].map(
      (name) => [`test/${name}`, [...Object.keys(PRODUCT), 'test/kit']] as const,
    ),
  ),
  'test/guides': [...Object.keys(PRODUCT), 'test/kit', 'test/house'],
};

export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = { ...PRODUCT, ...TESTS };
