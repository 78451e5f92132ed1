import { describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { parseSpiffeId, parseTrustDomain } from '../spiffe/id.ts';
import {
  describeRevocation,
  ensureOfDomain,
  parseReason,
  parseTarget,
  REASONS,
  type Revocation,
} from './revocation.ts';
import { ensureNotRevoked, revocationSet } from './revocation-set.ts';

const ID = parseSpiffeId('spiffe://prod.example/agents/web');
const SERIAL = '40aa';
const peer = { id: ID, serial: SERIAL, node: { platform: 'fake', node: 'n1' } };
const revocation = (kind: string, value: string, changes: Partial<Revocation> = {}): Revocation => ({
  number: 1,
  target: parseTarget(kind, value),
  serials: [],
  reason: 'keyCompromise',
  until: undefined,
  ...changes,
});

describe('a target', () => {
  test.each([
    ['serial', '40AA', '40aa'],
    ['serial', '40:aa', '40aa'],
    ['id', ID, ID],
    ['pattern', 'spiffe://prod.example/agents/*', 'spiffe://prod.example/agents/*'],
    ['node', 'kubernetes/eu-1/uid', 'kubernetes/eu-1/uid'],
  ])('%s %s', (kind, text, value) => {
    expect(parseTarget(kind, text)).toEqual({ kind, value });
  });

  test.each([
    ['country', '40aa', /^nothing is revoked by country$/],
    ['authority', '40aa', /^"40aa" is not the SHA-256 of a key/],
    ['authority', 'AA'.repeat(32), /is not the SHA-256 of a key/],
    ['', '40aa', /^nothing is revoked by nothing$/],
    ['toString', '40aa', /^nothing is revoked by toString$/],
    ['node', `a/${'b'.repeat(2047)}`, /^the node is 2049 long, at most 2048$/],
    ['serial', '4', /^"4" is not a serial/],
    ['serial', '', /is not a serial/],
    ['serial', 'xyz0', /is not a serial/],
    ['serial', 'aa'.repeat(21), /of at most 20 bytes$/],
    ['node', 'tpm', /^"tpm" is not PLATFORM\/NODE$/],
    ['node', '/n1', /is not PLATFORM\/NODE$/],
    ['node', 'tpm/', /is not PLATFORM\/NODE$/],
    ['id', 'web', /^SPIFFE ID does not start/],
    ['id', 'spiffe://prod.example/agents/*', /characters outside/],
    ['pattern', 'spiffe://*/web', /the trust domain is a wildcard/],
    ['pattern', 'spiffe://prod.example/we*', /characters outside/],
  ])('that is %s "%s" is refused', (kind, text, message) => {
    expect(() => parseTarget(kind, text)).toThrow(refusal('revocation', message));
  });

  const domain = parseTrustDomain('other.example');
  test.each([
    ['id', ID],
    ['pattern', 'spiffe://prod.example/agents/*'],
    ['pattern', 'spiffe://prod.example/**'],
  ])('%s %s is of one trust domain', (kind, text) => {
    const target = parseTarget(kind, text);
    ensureOfDomain(target, parseTrustDomain('prod.example'));
    expect(() => ensureOfDomain(target, domain)).toThrow(
      refusal('revocation', /is not of trust domain other/),
    );
  });

  test('that is a serial or a node is of none', () => {
    ensureOfDomain(parseTarget('serial', SERIAL), domain);
    ensureOfDomain(parseTarget('node', 'tpm/n1'), domain);
  });
});

test('a reason is one of RFC 5280', () => {
  expect(REASONS.map(parseReason)).toEqual(REASONS);
  expect(() => parseReason('because')).toThrow(
    refusal('revocation', /^"because" is not a reason: unspecified,/),
  );
});

describe('a set', () => {
  const by = (each: Revocation, who: object = peer, now = NOW) =>
    revocationSet([each], 1n).revoked({ ...peer, ...who }, now);

  test.each([
    ['serial', SERIAL],
    ['id', ID],
    ['pattern', 'spiffe://prod.example/agents/*'],
    ['pattern', 'spiffe://prod.example/**'],
    ['node', 'fake/n1'],
  ])('revokes by %s %s', (kind, value) => {
    expect(by(revocation(kind, value))).toMatchObject({ number: 1 });
  });

  test.each([
    ['another serial', 'serial', '40ab'],
    ['a longer ID', 'id', `${ID}2`],
    ['a pattern of other segments', 'pattern', 'spiffe://prod.example/*'],
    ['another node', 'node', 'fake/n2'],
    ['the same node on another platform', 'node', 'tpm/n1'],
  ])('does not revoke by %s', (_, kind, value) => {
    expect(by(revocation(kind, value))).toBeUndefined();
  });

  test('revokes a node that is one of several behind a certificate', () => {
    const node = { platform: 'kubernetes/eu-1+tpm', node: 'uid+n1' };
    expect(by(revocation('node', 'tpm/n1'), { node })).toBeDefined();
    expect(by(revocation('node', 'kubernetes/eu-1/uid'), { node })).toBeDefined();
    expect(by(revocation('node', 'tpm/uid'), { node })).toBeUndefined();
  });

  test('revokes the certificates of a node for a gateway, which does not know nodes', () => {
    const node = revocation('node', 'fake/n1', { serials: [SERIAL] });
    expect(by(node, { node: undefined })).toBeDefined();
    expect(by(node, { node: undefined, serial: '40ab' })).toBeUndefined();
  });

  test('does not revoke by a serial who has none', () => {
    expect(by(revocation('serial', SERIAL), { serial: undefined })).toBeUndefined();
  });

  test('counts a revocation until its end, and another beside it for longer', () => {
    const ended = revocation('id', ID, { until: after(60) });
    expect(by(ended, peer, after(59))).toBeDefined();
    expect(by(ended, peer, after(60))).toBeUndefined();
    const both = revocationSet([ended, revocation('id', ID, { number: 2 })], 2n);
    expect([both.revoked(peer, NOW)?.number, both.revoked(peer, after(60))?.number]).toEqual([1, 2]);
  });

  test('keeps a pattern’s end though it remembers whom the pattern matches', () => {
    const set = revocationSet([revocation('pattern', 'spiffe://prod.example/**', { until: after(60) })], 1n);
    expect(set.revoked(peer, NOW)).toBeDefined();
    expect(set.revoked(peer, after(60))).toBeUndefined();
  });
});

test.each([
  ['once each by many', () => Array.from({ length: 100_000 }, () => revocation('serial', SERIAL))],
  ['many times by one', () => [revocation('node', 'fake/n2', { serials: Array(100_000).fill(SERIAL) })]],
])('a serial that is named %s is indexed at once', (_, make) => {
  const list = make();
  const start = performance.now();
  expect(revocationSet(list, 1n).revoked(peer, NOW)).toBe(list[0]);
  expect(performance.now() - start).toBeLessThan(1_000);
});

test('whom a set revokes is refused with the revocation that does it', () => {
  const set = revocationSet([revocation('node', 'fake/n1', { until: after(60) })], 1n);
  ensureNotRevoked(set, { ...peer, node: undefined }, NOW);
  ensureNotRevoked(set, peer, after(60));
  expect(() => ensureNotRevoked(set, peer, NOW)).toThrow(
    refusal('revoked_peer', /^spiffe:\/\/prod.example\/agents\/web: revocation 1 \(node fake\/n1, keyComp/),
  );
});

test('a revocation is told by number, target and reason', () => {
  expect(describeRevocation(revocation('node', 'fake/n1'))).toBe(
    'revocation 1 (node fake/n1, keyCompromise)',
  );
});
