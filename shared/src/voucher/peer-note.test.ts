import { expect, test } from 'vitest';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { NONCE_BYTES, signPeer, verifyPeer } from './peer-note.ts';
import { signState } from './state-note.ts';

const [log, other] = [newLogKey('prod.example'), newLogKey('prod.example')];
const peer = { nonce: new Uint8Array(NONCE_BYTES).fill(1), certificate: Uint8Array.of(1, 2, 3) };
const note = signPeer(peer, log.verifier, log.privateKey);
const state = { part: 'revocations', number: 1n, digest: peer.nonce } as const;

test('proves the certificate and the nonce that it was made for', () => {
  expect(() => verifyPeer(note, peer, log.verifier)).not.toThrow();
});

test.each([
  ['another certificate', note, { ...peer, certificate: Uint8Array.of(1, 2) }],
  ['another nonce', note, { ...peer, nonce: new Uint8Array(NONCE_BYTES).fill(2) }],
  ['another key', signPeer(peer, other.verifier, other.privateKey), peer],
  ['a state', signState(state, log.verifier, log.privateKey), peer],
  ['no note', '', peer],
])('I250 is refused for %s', (_, said, shown) => {
  expect(() => verifyPeer(said, shown, log.verifier)).toThrow(expect.objectContaining({ code: 'tlog' }));
});
