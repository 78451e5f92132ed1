/** docs/threat-model.md against the code: each number that it promises is the one in the code. */
import { expect, test } from 'vitest';
import { textOf } from './repository.ts';

const page = textOf('docs/threat-model.md').replaceAll(/\s+/g, ' ');

/**
 * A constant of a source file: a product of whole numbers, alone or by `NAME.key` in an object, or a call such as
 * `.default(64)` after a key.
 */
function valueIn(file: string, name: string): number {
  const text = textOf(file);
  const [object, key] = name.split('.');
  const [, product] =
    new RegExp(`\\bconst ${name} = ([\\d_ *]+);`).exec(text) ??
    new RegExp(`\\bconst ${object} = {[^}]*\\b${key}: ([\\d_ *]+)[, ]`).exec(text) ??
    new RegExp(`\\b${name}: z(?:(?!: z)[^])*?\\.default\\(([\\d_]+)\\)`).exec(text) ??
    [];
  if (product === undefined) throw new Error(`${file} has no constant ${name}`);
  return product.split('*').reduce((sum, part) => sum * Number(part.replaceAll('_', '').trim()), 1);
}

const KIB = 1024;
const MIB = 1024 * KIB;
const PLACES = 'agent/src/mcp/gateway/peers/places.ts';
const UNREAD = 'agent/src/mcp/gateway/exchange/unread.ts';

/** What the page says, with `#` for the number; where the number is; what one of its unit is. */
const PROMISES: readonly (readonly [says: string, file: string, name: string, unit?: number])[] = [
  ['and # s to arrive', 'shared/src/door/http2/streams.ts', 'MESSAGE_MS', 1000],
  ['The headers of a call have at most # KiB', 'shared/src/door/http2/headers.ts', 'MAX_HEADER_BYTES', KIB],
  ['An open call counts # KiB more', 'shared/src/door/http2/streams.ts', 'STREAM_BYTES', KIB],
  ['a stranger has at most # on a connection', 'ca/src/door/streams.ts', 'STRANGER_STREAMS'],
  ['over and over is closed: # at once', 'ca/src/door/streams.ts', 'RESETS.burst'],
  ['at once and # a second are allowed', 'ca/src/door/streams.ts', 'RESETS.perSecond'],
  ['A stranger has # at once', 'ca/src/door/streams.ts', 'FAILURES_OF_STRANGER.burst'],
  ['at once and # a second on a connection', 'ca/src/door/streams.ts', 'FAILURES_OF_STRANGER.perSecond'],
  ['an IPv6 /48 has # and', 'ca/src/door/streams.ts', 'RESETS_OF_ADDRESS.burst'],
  ['and #, and so has a certificate', 'ca/src/door/streams.ts', 'RESETS_OF_ADDRESS.perSecond'],
  ['For # s after that, each new connection', 'shared/src/door/slow-addresses.ts', 'SLOW_MS', 1000],
  ['and at most # valid ones', 'ca/src/store/sqlite/holders/derived-certificates.ts', 'MAX_PER_NODE'],
  ['A node has # trust streams', 'ca/src/door/limits.ts', 'TRUST_STREAMS'],
  ['beside its agents have # more', 'ca/src/door/limits.ts', 'TRUST_STREAMS'],
  ['more, # for each certificate', 'ca/src/door/limits.ts', 'DERIVED_STREAMS'],
  ['come within # ms', 'ca/src/succession/successions.ts', 'BATCH_MS'],
  ['keep # of these links for a node', 'ca/src/succession/successions.ts', 'MAX_PER_NODE'],
  ['keep # of these links for a node', 'agent/src/trust/stream/successions.ts', 'MAX_PER_SHARE'],
  ['for a node, and # in all', 'ca/src/succession/successions.ts', 'MAX_KEPT'],
  ['for a node, and # in all', 'agent/src/trust/stream/successions.ts', 'MAX_KEPT'],
  ['at most # (at a gateway 1,024) for one certificate', 'ca/src/config.ts', 'connectionsPerCaller'],
  ['(at a gateway #) for one certificate', PLACES, 'PER_CERTIFICATE'],
  ['Strangers have # places', 'ca/src/config.ts', 'strangerConnections'],
  ['Strangers have # places', PLACES, 'STRANGERS'],
  ['do not read hold at most # MiB for a stream', UNREAD, 'PER_STREAM', MIB],
  ['for a stream, # MiB for a caller', UNREAD, 'PER_CALLER', MIB],
  ['for a caller and # MiB in all, counted until', UNREAD, 'TOTAL', MIB],
  ['at most # (at a gateway 128) for an IPv4 address', 'ca/src/config.ts', 'connectionsPerCaller'],
  ['(at a gateway #) for an IPv4 address', PLACES, 'PER_STRANGER'],
  ['`join.sock` has #,', 'ca/src/door/doors.ts', 'JOIN'],
  ['the health port has #,', 'shared/src/health/plain.ts', 'PLAIN_CONNECTIONS'],
  ['at most # for an address. When', 'shared/src/health/plain.ts', 'PER_ADDRESS'],
  ['the first byte must come within # s', 'shared/src/door/first-byte.ts', 'HANDSHAKE_MS', 1000],
  ['the handshake must end within another # s', 'shared/src/door/first-byte.ts', 'HANDSHAKE_MS', 1000],
  ['asks nothing ends after # s', 'shared/src/door/http2/idle.ts', 'IDLE_MS', 1000],
];

test('docs/operations.md has the open files that CA and gateway want', () => {
  const [doors, health] = ['ca/src/door/doors.ts', 'shared/src/health/plain.ts'];
  const reserved = 256 + valueIn(health, 'PLAIN_CONNECTIONS');
  const local = valueIn(doors, 'LOCAL_DESCRIPTORS');
  // Strangers have as many places before their first byte, and at the CA as many in which they wait.
  const strangers = 3 * valueIn('ca/src/config.ts', 'strangerConnections');
  const served = valueIn('ca/src/config.ts', 'connections') + valueIn(doors, 'JOIN') * local;
  // The CA has a port for revocation lists, too.
  const lists = valueIn(health, 'PLAIN_CONNECTIONS');
  const ca = served + strangers + reserved + lists + valueIn(doors, 'ADMIN') * local;
  const gateway = 2 * valueIn(PLACES, 'CERTIFIED') + 2 * valueIn(PLACES, 'STRANGERS') + reserved;
  const [forCa, forGateway] = [ca, gateway].map((files) => files.toLocaleString('en'));
  expect(textOf('docs/operations.md')).toContain(`the CA wants ${forCa} `);
  expect(textOf('docs/operations.md')).toContain(`a gateway ${forGateway}.`);
});

test.each(PROMISES.map(([says, file, name, unit = 1]) => ({ says, file, name, unit })))(
  '"$says" is what $file has as $name',
  ({ says, file, name, unit }) => {
    const number = (valueIn(file, name) / unit).toLocaleString('en');
    expect(page).toContain(says.replace('#', number));
  },
);
