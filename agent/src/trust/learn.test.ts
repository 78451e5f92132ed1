import { hex } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { learnBundle } from './learn.ts';

const [old, fresh] = ['Old', 'New'].map((name) => makeAuthority(name).certificate.der) as [Buffer, Buffer];
const trustDomain = parseTrustDomain('prod.example');
const clock = new ManualClock(NOW);

const learnt = async (isOverSocket: boolean, offered: readonly Uint8Array[]) => {
  const bundle = new LiveValue<Bundle>(() => new Error(), { trustDomain, authorities: [old], sequence: 0n });
  const deps = { address: '127.0.0.1:1', isOverSocket, clock, log: silentLog };
  const after = await learnBundle(bundle, deps)(offered);
  expect(bundle.current()).toBe(after);
  return after.authorities.map(hex);
};

test.each<[string, boolean, readonly Uint8Array[], readonly Uint8Array[]]>([
  ['more, over TLS, are taken', false, [old, fresh], [old, fresh]],
  ['others are not', false, [fresh], [old]],
  ['none are not', false, [], [old]],
  ['the same, of a socket, need no proof', true, [old], [old]],
  ['more, of a socket, are not taken without the word of the TLS port', true, [old, fresh], [old]],
])('%s', async (_, isOverSocket, offered, expected) => {
  expect(await learnt(isOverSocket, offered)).toEqual(expected.map(hex));
});
