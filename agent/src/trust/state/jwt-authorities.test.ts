/** Keys of tokens in the bundle that the CA sends. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { type SavedTrust, TrustState } from './trust-state.ts';

const trustDomain = parseTrustDomain('prod.example');
const root = asBuffer(makeAuthority('root').certificate.der);
const keyOf = (keyId: string, namedCurve = 'P-256') => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve });
  return { keyId, publicKey: publicKey.export({ format: 'der', type: 'spki' }), expiresAt: 0n };
};
const [first, second] = [keyOf('40aa'), keyOf('40bb', 'P-384')];
const nameOf = ({ publicKey }: typeof first): string => createHash('sha256').update(publicKey).digest('hex');
const revoked = (value: string) => ({
  ...{ number: 1n, kind: 'authority', value, serials: [], reason: 'keyCompromise', until: 0n },
});

let saved: SavedTrust[];
let trust: TrustState;
let sequence: bigint;
beforeEach(() => {
  [saved, sequence] = [[], 1n];
  trust = new TrustState(
    async (state) => void saved.push(state),
    new ManualClock(NOW),
    () => 'spiffe://prod.example/web',
  );
  trust.bundle.publish({ trustDomain, authorities: [root], sequence });
});

function push(
  jwtAuthorities: readonly (typeof first)[],
  list: readonly ReturnType<typeof revoked>[] = [],
): void {
  sequence += 1n;
  trust.accept({
    sequence,
    bundle: {
      ...{ trustDomain, x509Authorities: [root], sequence, jwtAuthorities: [...jwtAuthorities] },
      ...{ readerVersion: 0, retiringX509: [], crossChains: [], logKey: '', note: '' },
    },
    policy: { version: 1n, resources: [], note: '' },
    revocations: { sequence, list: [...list], since: 0n, gone: [], note: '' },
    readerVersion: 0,
  });
}
const inForce = () => trust.bundle.current().jwtAuthorities?.map(({ keyId }) => keyId);

test('are in force and on disk with the bundle, and leave with it', () => {
  push([first]);
  expect(inForce()).toEqual(['40aa']);
  push([first, second]);
  expect(saved.at(-1)?.bundle.jwtAuthorities?.map(({ keyId }) => keyId)).toEqual(['40aa', '40bb']);
  push([second]);
  expect(inForce()).toEqual(['40bb']);
  push([]);
  expect(inForce()).toBeUndefined();
});

test('may all be others after a month: the CA that says so is proven by its certificate', () => {
  push([first]);
  push([second]);
  expect([inForce(), trust.taken]).toEqual([['40bb'], expect.arrayContaining(['bundle'])]);
});

test('of a kind that this agent does not know verify nothing, and keep no other out', () => {
  push([{ ...first, keyId: '40cc', publicKey: Buffer.from('rsa') }, keyOf('40dd', 'P-521'), first]);
  expect(inForce()).toEqual(['40aa']);
});

describe('the bundle before stays in force, and revocations count', () => {
  beforeEach(() => push([first]));
  test.each([
    ['with a kid twice (I196)', [first, { ...second, keyId: '40aa' }], /two JWT keys with the kid 40aa/],
    ['with a kid that is none (I196)', [first, { ...second, keyId: '' }], /no kid of 1 to 64/],
    [
      'with more than any rotation has (I196)',
      Array.from({ length: 17 }, (_, n) => keyOf(`${n}`)),
      /has 17 JWT keys/,
    ],
  ])('%s', (_, keys, says) => {
    expect(() => push(keys, [revoked('ab'.repeat(32))])).toThrow(refusal('bundle', says));
    expect([inForce(), trust.taken]).toEqual([['40aa'], expect.not.arrayContaining(['bundle'])]);
    expect(trust.revocations.current().list).toHaveLength(1);
  });

  test('with a key that was tainted (I197)', () => {
    push([second], [revoked(nameOf(first))]);
    expect(() => push([second, first], [revoked(nameOf(first))])).toThrow(
      refusal('bundle', /has an authority whose key is revoked$/),
    );
    expect(inForce()).toEqual(['40bb']);
  });
});
