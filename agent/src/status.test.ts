import { IdentityError, REFUSALS } from '@chancery/shared/ground/errors.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { after, makeAuthority, makeLeaf, NOW } from '../../test/kit/certificates.ts';
import { ManualClock } from '../../test/kit/manual-clock.ts';
import type { Agent } from './agent.ts';
import type { AgentSettings } from './config/schema.ts';
import type { WrittenChain } from './outputs/full-chain.ts';
import { type Known, statusOf } from './status.ts';
import { NO_REVOCATIONS } from './trust/state/revocations.ts';
import { compileSnapshot } from './trust/state/snapshot.ts';
import { type StreamState, stateAfter } from './trust/stream/stream-state.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const missing = () => new IdentityError('unavailable', 'none');
const root = makeAuthority('Root');
const { key, certificate } = makeLeaf(id, root);
const bundle: Bundle = {
  trustDomain: parseTrustDomain('prod.example'),
  sequence: 1n,
  authorities: [root.certificate.der],
};
const svid: Svid = {
  id,
  chain: [certificate.der],
  key,
  notBefore: after(0),
  notAfter: after(3600),
  renewAfter: after(1800),
};

let stream: StreamState;
let skew: number | undefined;
let renewal: string | undefined;
let snapshot: string | undefined;
let revocations: RevocationSet;
let output: string | undefined;
let written: WrittenChain | undefined;
let shown: WrittenChain | undefined;
beforeEach(() => {
  [written, shown] = [undefined, undefined];
  stream = { failure: undefined, since: after(0) };
  [skew, renewal, snapshot, output] = [undefined, undefined, undefined, undefined];
  revocations = NO_REVOCATIONS;
});

const gateway = { servers: [{ server: 'github' }] } as unknown as NonNullable<AgentSettings['gateway']>;
const resource = (name: string, identity: string = id) =>
  JSON.stringify({ kind: 'McpServer', name, identity, address: 'a:1' });

test('an agent that has not joined says why', () => {
  const joining = {
    settings: { gateway: undefined, connect: [] },
    clock: new ManualClock(after(0)),
    version: '1',
  };
  expect(statusOf(joining)).toMatchObject({
    spiffeId: null,
    problems: [expect.stringMatching(/^not joined yet: /)],
  });
  expect(statusOf({ ...joining, joinFailure: 'the CA refused (reference 4f2a9c01)' }).problems).toEqual([
    'not joined yet: the CA refused (reference 4f2a9c01)',
  ]);
});

test.each([
  ['not registered', [], [`gateway: no McpServer github is registered for ${id}`]],
  [
    'registered for another identity',
    [resource('github', 'spiffe://prod.example/other')],
    [`gateway: McpServer github is registered for spiffe://prod.example/other, not ${id}`],
  ],
  ['registered for it', [resource('github')], []],
  [
    'registered as one that observes',
    [JSON.stringify({ ...JSON.parse(resource('github')), observe: { until: after(60).toISOString() } })],
    [`gateway: McpServer github observes until ${after(60).toISOString()}: what its rules deny passes`],
  ],
  [
    'registered as one that has observed',
    [JSON.stringify({ ...JSON.parse(resource('github')), observe: { until: NOW.toISOString() } })],
    [],
  ],
])('a gateway whose server is %s', (_, resources, problems) => {
  expect(statusAt(1, { gateway, connect: [] }, resources).problems).toEqual(problems);
});

let silent = 0;
test('a gateway that has not heard its CA for maxStaleness says that it takes no new calls', () => {
  const stale = 'gateway: new calls are refused, because the CA was not heard for maxStaleness';
  const settings = { gateway: { ...gateway, maxStaleness: 300 }, connect: [] };
  const problems = () => statusAt(1, settings, [resource('github')]).problems;
  expect(problems()).toEqual([]);
  silent = 299;
  expect(problems()).toEqual([]);
  silent = 300;
  expect(problems()).toEqual([stale]);
  expect(statusAt(1, { gateway, connect: [] }, [resource('github')]).problems).toEqual([]);
  silent = 0;
});

test('a gateway whose server has audit: required says why it takes no new calls, or why its records wait', () => {
  const required = [JSON.stringify({ ...JSON.parse(resource('github')), audit: 'required' })];
  const problems = (report: object | false, spool?: Known['spool']) => {
    const own = { ...gateway, report } as typeof gateway;
    return statusAt(1, { gateway: own, connect: [] }, required, spool).problems;
  };
  const spool = (refuses?: string, undelivered?: string): Known['spool'] => ({
    refuses: () => refuses,
    undelivered: () => undelivered,
    report: () => ({ depth: 0, bytes: 0, oldestSeconds: 0, acknowledged: 0, lost: 0 }),
  });
  expect(problems(false)).toEqual([
    'gateway: new calls are refused, because the McpServer github has audit: required, ' +
      'and the config of this gateway has gateway.report: false',
  ]);
  expect(problems({}, spool())).toEqual([]);
  expect(problems({}, spool('it is full', 'the CA is away'))).toEqual([
    'gateway: new calls are refused, because it is full',
    'gateway: its records do not reach the audit log: the CA is away',
  ]);
});

function statusAt(
  seconds: number,
  settings: Known['settings'] = { gateway: undefined, connect: [] },
  resources: readonly string[] = [],
  spool?: Known['spool'],
) {
  const agent: Agent = {
    svid: new LiveValue(missing, svid),
    bundle: new LiveValue(missing, bundle),
    trust: {
      policy: new LiveValue(missing, compileSnapshot(resources, 5n, NOW)),
      revocations: new LiveValue(missing, revocations),
      resources: () => [],
      successions: { follows: () => false, onChange: () => () => {} },
      gateways: () => 1,
      stream: () => stream,
      silentSeconds: () => silent,
      crls: { onChange: () => () => {} },
      crossChains: new LiveValue(missing),
      caTarget: () => {
        throw missing();
      },
    },
    renewalFailure: () => renewal,
    snapshotFailure: () => snapshot,
    skewSeconds: () => skew,
    ended: new Promise(() => {}),
    close: async () => {},
  };
  const shownNow = shown;
  return statusOf({
    agent,
    settings,
    ...(spool && { spool }),
    clock: new ManualClock(after(seconds)),
    version: '1',
    gateway: { port: 8443, sessions: () => [], shown: shownNow && (() => shownNow) },
    outputs: { states: () => [{ dir: '/run/tls', failure: output, written }], close: async () => {} },
  });
}

test('an output without its full chain is told, with what the file has', () => {
  written = { chain: svid.chain, lacks: 'no chain' };
  const { problems, chains } = statusAt(10);
  expect(problems).toEqual(['the output /run/tls has the short chain and not the full one: no chain']);
  expect(chains).toMatchObject([{ dir: '/run/tls', lacks: 'no chain' }]);
  expect(chains?.[0]?.certificates).toHaveLength(svid.chain.length);
});

test('a gateway that shows its callers the short chain says why', () => {
  shown = { chain: svid.chain, lacks: 'no chain' };
  const says = 'the gateway shows the short chain and not the full one: no chain';
  expect(statusAt(10).problems).toEqual([says]);
  shown = { chain: svid.chain, lacks: undefined };
  expect(statusAt(10).problems).toEqual([]);
});

test('an agent that is well has no problems', () => {
  expect(statusAt(10)).toMatchObject({
    spiffeId: id,
    policyVersion: 5,
    revoked: null,
    expired: false,
    trustStream: { up: true, failure: null },
    skewSeconds: null,
    problems: [],
  });
});

describe('a problem is', () => {
  test('an expired certificate', () => {
    const says = `the certificate expired at ${after(3600).toISOString()}`;
    expect(statusAt(3601).problems).toEqual([says]);
    renewal = 'the CA does not answer';
    expect(statusAt(3601).problems).toEqual([`${says} and renewal fails: the CA does not answer`]);
  });

  test('a renewal that fails for half of the time that it has', () => {
    renewal = 'the CA does not answer';
    expect(statusAt(2699).problems).toEqual([]);
    expect(statusAt(2701).problems).toEqual([
      `the certificate ends at ${after(3600).toISOString()} and renewal fails: the CA does not answer`,
    ]);
  });

  test('a renewal that fails while an authority above the certificate is taken away', () => {
    const value = keyNameOf(root.certificate);
    const revoked = {
      number: 1,
      target: { kind: 'authority', value },
      serials: [],
      until: undefined,
    } as const;
    revocations = revocationSet([{ ...revoked, reason: 'keyCompromise' }], 2n);
    expect(statusAt(10).problems).toEqual([]);
    renewal = 'the CA issues nothing yet';
    const says = 'an authority above the certificate was taken away, so every peer refuses the certificate';
    expect(statusAt(10).problems).toEqual([`${says}, and renewal fails: the CA issues nothing yet`]);
    revocations = revocationSet(
      [{ ...revoked, target: { kind: 'authority', value: 'ab' }, reason: 'keyCompromise' }],
      2n,
    );
    expect(statusAt(10).problems).toEqual([]);
  });

  test('a CA that was not heard for a minute', () => {
    stream = { failure: 'it ended the stream', since: after(100) };
    expect(statusAt(160)).toMatchObject({ trustStream: { up: false }, problems: [] });
    expect(statusAt(161).problems).toEqual(['the CA was not heard for 61 s: it ended the stream']);
  });

  test('I90 a CA that was not heard for a minute since the clock was set back', () => {
    stream = stateAfter(
      { failure: 'it ended the stream', since: after(7200) },
      'it ended the stream',
      after(100),
    );
    expect(statusAt(161).problems).toEqual(['the CA was not heard for 61 s: it ended the stream']);
    stream = stateAfter(stream, 'it ended the stream', after(165));
    expect(statusAt(170).problems).toEqual(['the CA was not heard for 70 s: it ended the stream']);
  });

  test('a clock that is more than a minute off', () => {
    skew = 60;
    expect(statusAt(1)).toMatchObject({ skewSeconds: 60, problems: [] });
    skew = -61;
    expect(statusAt(1).problems).toEqual(["this machine's clock is 61 s behind the CA's: set the clock"]);
  });

  test('a snapshot that was not wholly taken', () => {
    snapshot = 'the policy is not taken and the one before stays in force: unknown key';
    expect(statusAt(1).problems).toEqual([`the agent could not take all that the CA sent: ${snapshot}`]);
  });

  test('an output that is not up to date', () => {
    output = 'disk full';
    expect(statusAt(1).problems).toEqual(['/run/tls is not up to date: disk full']);
  });

  test('a revocation that the CA has pushed', () => {
    const target = { kind: 'id', value: id } as const;
    revocations = revocationSet(
      [{ number: 7, target, serials: [], reason: 'keyCompromise', until: undefined }],
      1n,
    );
    expect(statusAt(1)).toMatchObject({
      revoked: expect.stringContaining('keyCompromise'),
      problems: [expect.stringMatching(/^this identity is revoked: .*keyCompromise/)],
    });
  });

  test.each(['stream', 'renewal'])('a revocation by which the CA refuses the %s', (where) => {
    const says = `the CA refused (UNAUTHENTICATED): ${REFUSALS.revoked_peer.says}`;
    stream = { failure: where === 'stream' ? says : 'it ended the stream', since: after(0) };
    if (where === 'renewal') renewal = says;
    expect(statusAt(1).problems).toEqual([`this identity is revoked: ${says}`]);
  });

  test('no revocation where the CA has let the trust stream open since: it was lifted', () => {
    renewal = `the CA refused (UNAUTHENTICATED): ${REFUSALS.revoked_peer.says}`;
    expect(statusAt(1)).toMatchObject({ revoked: null, problems: [] });
  });

  test.each(['expired_peer', 'svid', 'wrong_peer', 'chain'] as const)(
    'no revocation where the CA refuses an old certificate by %s',
    (code) => {
      renewal = `the CA refused (UNAUTHENTICATED): ${REFUSALS[code].says}`;
      stream = { failure: renewal, since: after(0) };
      expect(statusAt(1)).toMatchObject({ revoked: null, problems: [] });
    },
  );
});
