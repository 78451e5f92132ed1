/** What names workloads and what the CA tells agents: SPIFFE IDs, bundles, snapshots, revocations. */
import {
  loadRevocations,
  readRevocations,
  StoredRevocations,
  storeRevocations,
} from '@chancery/agent/trust/state/revocations.ts';
import {
  bundleOf,
  compileSnapshot,
  completed,
  ensureForThisVersion,
  policyOf,
} from '@chancery/agent/trust/state/snapshot.ts';
import { Revoked, WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { toolNamed } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import { compileSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import { ensureOfDomain, parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { readBundle, writeBundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain, pathOf, trustDomainOf } from '@chancery/shared/spiffe/id.ts';
import { NOW } from '../../kit/certificates.ts';
import { law, type Target } from '../engine.ts';
import { recorded } from '../recorded.ts';

const TRUST_DOMAIN = parseTrustDomain('prod.example');
const KNOWN = () => ({ trustDomain: TRUST_DOMAIN, authorities: [recorded('root')], sequence: 1n });
const textOf = (input: Uint8Array): string => Buffer.from(input).toString('utf8');

const spiffeId: Target = {
  name: 'spiffe-id',
  says: 'SPIFFE IDs and patterns of them',
  shape: 'json',
  maxBytes: 4096,
  open: () => ({
    seeds: ['spiffe://prod.example/billing', 'spiffe://10.0.0.1/a/b.c/_-d', 'spiffe://prod.example/**'].map(
      utf8,
    ),
    run: (input) => {
      const text = textOf(input);
      const matches = compileSpiffePattern(text);
      const id = parseSpiffeId(text);
      law(matches(id), 'an ID does not match itself');
      return utf8(`spiffe://${trustDomainOf(id)}${pathOf(id)}`);
    },
  }),
};

const target: Target = {
  name: 'revocation-target',
  says: 'what an operator, or the CA, names to be revoked',
  shape: 'json',
  maxBytes: 4096,
  open: () => ({
    seeds: [
      'serial 01:0A:ff',
      'id spiffe://prod.example/billing',
      'pattern spiffe://prod.example/*/web/**',
      'node aws-iam/123456789012/AROA',
    ].map(utf8),
    run: (input) => {
      const [kind = '', ...rest] = textOf(input).split(' ');
      const parsed = parseTarget(kind, rest.join(' '));
      ensureOfDomain(parsed, TRUST_DOMAIN);
      law(
        parseTarget(parsed.kind, parsed.value).value === parsed.value,
        'a target is another when it is read again',
      );
      return undefined;
    },
  }),
};

const bundle: Target = {
  name: 'bundle',
  says: 'bundle documents',
  shape: 'json',
  open: () => ({
    seeds: [utf8(writeBundle(KNOWN())), utf8(writeBundle({ ...KNOWN(), sequence: 2n ** 63n }))],
    run: (input) => {
      const { authorities, sequence } = readBundle(input, TRUST_DOMAIN);
      const keys = authorities.map((der) => ({
        kty: 'EC',
        use: 'x509-svid',
        x5c: [Buffer.from(der).toString('base64')],
      }));
      const again = readBundle(
        utf8(`{"keys":${JSON.stringify(keys)},"spiffe_sequence":${sequence}}`),
        TRUST_DOMAIN,
      );
      law(again.sequence === sequence, 'a sequence is another when it is read again');
      law(
        Buffer.concat(again.authorities).equals(Buffer.concat(authorities)),
        'authorities are others when they are read again',
      );
      return undefined;
    },
  }),
};

const RESOURCES = [
  {
    kind: 'McpServer',
    name: 'db',
    identity: 'spiffe://prod.example/db',
    address: 'db.internal:8443',
    tools: { query: { action: 'query' } },
  },
  {
    kind: 'Access',
    name: 'web',
    who: ['spiffe://prod.example/web/**'],
    servers: ['db'],
    tools: { allow: ['query', 'get_*', '/read_[a-z]+/'], deny: ['*_admin'] },
  },
].map((each) => JSON.stringify(each));

const ALLOWS = /allow|\\u/;

/** An agent forwards what its policy allows, so reading it wrong is letting somebody in. */
const policy: Target = {
  name: 'policy',
  says: 'one resource of the policy, compiled, and a decision by it',
  shape: 'json',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: RESOURCES.map(utf8),
    run: (input) => {
      const text = textOf(input);
      const [server = '', access = ''] = RESOURCES;
      const compiled = compileSnapshot(text.includes('McpServer') ? [text, access] : [server, text], 1n, NOW);
      const caller = parseSpiffeId('spiffe://prod.example/web/1');
      for (const tool of ['query', 'get_it', 'read_x', 'x'.repeat(128)])
        law(
          !decide(compiled, { caller, server: 'db', what: toolNamed(tool) }).allow ||
            text.includes('McpServer') ||
            ALLOWS.test(text),
          'a rule that allows nothing lets somebody in',
        );
      return undefined;
    },
  }),
};

const snapshots = (): readonly Uint8Array[] => {
  const whole: WatchResponse = {
    sequence: 7n,
    successions: [],
    crls: Buffer.alloc(0),
    gateways: 0,
    checkpoint: '',
    readerVersion: 0,
    takesParts: true,
    bundle: {
      trustDomain: TRUST_DOMAIN,
      x509Authorities: [Buffer.from(recorded('root'))],
      sequence: 2n,
      jwtAuthorities: [],
      readerVersion: 0,
      retiringX509: [],
      crossChains: [],
      logKey: '',
      note: '',
    },
    policy: { version: 3n, resources: RESOURCES, note: '' },
    revocations: {
      sequence: 9n,
      since: 0n,
      gone: [],
      note: '',
      list: [
        {
          number: 1n,
          kind: 'id',
          value: 'spiffe://prod.example/web',
          serials: [],
          reason: 'keyCompromise',
          until: 0n,
        },
        {
          number: 2n,
          kind: 'node',
          value: 'tpm/abc',
          serials: ['01ff', '02'],
          reason: 'superseded',
          until: 1_790_000_000n,
        },
        {
          number: 3n,
          kind: 'pattern',
          value: 'spiffe://prod.example/ci/**',
          serials: [],
          reason: 'unspecified',
          until: 0n,
        },
      ],
    },
  };
  return [Uint8Array.from(WatchResponse.encode(whole).finish())];
};

/** Without what is around it, so that a change of a number does not break a length. */
const revocation: Target = {
  name: 'revocation',
  says: 'one revocation, as the CA tells it and as it is kept on disk',
  shape: 'bytes',
  open: () => ({
    seeds: snapshots()
      .flatMap((each) => WatchResponse.decode(each).revocations?.list ?? [])
      .map((each) => Uint8Array.from(Revoked.encode(each).finish())),
    run: (input) => {
      const one = decoded(() => Revoked.decode(input));
      const { unreadable } = readRevocations({ sequence: 1n, list: [one] });
      keepRevocations({ sequence: 1n, list: [one], since: 0n, gone: [], note: '' });
      if (unreadable !== undefined) throw unreadable;
      return undefined;
    },
  }),
};

const snapshot: Target = {
  name: 'snapshot',
  says: 'what the CA tells agents: bundle, policy, revocations, and what is kept of them on disk',
  shape: 'bytes',
  open: () => ({
    seeds: snapshots(),
    run: (input) => {
      const message = completed(
        undefined,
        decoded(() => WatchResponse.decode(input)),
      );
      if (message.revocations !== undefined) keepRevocations(message.revocations);
      ensureForThisVersion(message);
      bundleOf(message, KNOWN());
      policyOf(message);
      return undefined;
    },
  }),
};

/** The library's own refusal; it is gRPC that reads messages, and that answers for them. */
function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw new IdentityError('message_parse', 'no message', { cause: error });
  }
}

function keepRevocations(message: NonNullable<WatchResponse['revocations']>): void {
  const { set } = readRevocations(message);
  const stored = JSON.stringify(storeRevocations(set));
  const again = loadRevocations(StoredRevocations.parse(JSON.parse(stored)));
  law(
    JSON.stringify(storeRevocations(again)) === stored,
    'revocations are others when they come from the disk',
  );
  const peer = {
    id: parseSpiffeId('spiffe://prod.example/web'),
    serial: '01ff',
    node: { platform: 'tpm', node: 'abc' },
  };
  law(
    set.revoked(peer, NOW)?.number === again.revoked(peer, NOW)?.number,
    'another peer is revoked after a restart',
  );
}

export const TRUST: readonly Target[] = [spiffeId, target, bundle, policy, revocation, snapshot];
