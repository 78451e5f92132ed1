import { SignInService } from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { verifyPeer } from '@chancery/shared/voucher/peer-note.ts';
import { expect, test } from 'vitest';
import { callUnary, expectRefused, makeRpc, peerOf, stranger } from '../../../../test/kit/ca/rpc.ts';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { StateNotes } from '../../log/state-notes.ts';
import { signInMethods } from './sign-in.ts';

test('a CA whose config has no operators says so to who wants to sign in', async () => {
  const rpc = await makeRpc([]);
  const [getIssuer, signIn] = signInMethods({ ...rpc, signIn: undefined }).map((each) => each(rpc));
  const requests = [
    [getIssuer, SignInService.getIssuer.requestSerialize({})],
    [signIn, SignInService.signIn.requestSerialize({ idToken: 'x', csr: Buffer.alloc(1) })],
  ] as const;
  for (const [handled, bytes] of requests) {
    if (handled === undefined) throw new TypeError('a method is missing');
    const { error } = await callUnary(handled, peerOf(rpc, stranger), bytes);
    await expectRefused(rpc, error, 'no_sign_in', /has no `operators`/);
    expect(error?.details).toBe('this CA signs nobody in: its config has no `operators`');
  }
});

test('I323 the key of the log signs the certificate that the connection shows, and a nonce of the caller', async () => {
  const [rpc, log] = [await makeRpc([]), newLogKey('prod.example')];
  const shown = (byte: number) => ({ chain: [Uint8Array.of(byte), Uint8Array.of(9)] }) as unknown as Svid;
  const svid = new LiveValue<Svid>(() => new TypeError('none'), shown(1));
  const notes = new StateNotes(log);
  const [, , prove] = signInMethods({ ...rpc, notes, own: { svid }, signIn: undefined }).map((each) =>
    each(rpc),
  );
  if (prove === undefined) throw new TypeError('a method is missing');
  const ask = (bytes: number) =>
    callUnary(
      prove,
      peerOf(rpc, stranger),
      SignInService.prove.requestSerialize({ nonce: Buffer.alloc(bytes, 7) }),
    );
  for (const byte of [1, 2]) {
    svid.publish(shown(byte));
    const { note } = (await ask(32)).response as { note: string };
    const [nonce, certificate] = [Buffer.alloc(32, 7), Uint8Array.of(byte)];
    expect(() => verifyPeer(note, { nonce, certificate }, log.verifier)).not.toThrow();
  }
  await expectRefused(rpc, (await ask(31)).error, 'message_parse', /31 bytes, expected 32/);
  // A connection from before the CA renewed its certificate.
  const [peer, older] = [peerOf(rpc, { ...stranger, sees: () => Uint8Array.of(1) }), Buffer.alloc(32, 7)];
  const asked = SignInService.prove.requestSerialize({ nonce: older });
  const { note } = (await callUnary(prove, peer, asked)).response as { note: string };
  const seen = { nonce: older, certificate: Uint8Array.of(1) };
  expect(() => verifyPeer(note, seen, log.verifier)).not.toThrow();
});
