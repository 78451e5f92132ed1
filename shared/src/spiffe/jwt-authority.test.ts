import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';

import { isSameJwt, readJwtAuthorities, writeJwk } from './jwt-authority.ts';

const key = (keyId: string) => ({ keyId, spki: spki('ec') });
const [a, b] = [key('a'), key('b')];

test('two sets are the same in any order, and not where a kid has another key', () => {
  expect(isSameJwt([a, b], [b, a])).toBe(true);
  expect(isSameJwt(undefined, [])).toBe(true);
  expect(isSameJwt([a, b], [a])).toBe(false);
  expect(isSameJwt([a], [key('a')])).toBe(false);
  expect(isSameJwt([a], [{ ...a, keyId: 'b' }])).toBe(false);
});

test.each<[string, Uint8Array]>([
  ['of another curve', spki('ed25519')],
  ['of RSA', spki('rsa')],
  ['that is none', Buffer.from('x')],
])('a key %s verifies nothing, and is never written', (_, publicKey) => {
  expect(readJwtAuthorities([{ keyId: 'x', publicKey }])).toEqual([]);
  expect(() => writeJwk({ keyId: 'x', spki: publicKey }, 'sig')).toThrow(
    refusal('internal', /P-256 or P-384/),
  );
});

function spki(kind: 'ec' | 'ed25519' | 'rsa'): Uint8Array {
  const { publicKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ed25519');
  return publicKey.export({ type: 'spki', format: 'der' });
}
