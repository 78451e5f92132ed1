import { SignInService } from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import { expect, test } from 'vitest';
import { callUnary, expectRefused, makeRpc, peerOf, stranger } from '../../../../test/kit/ca/rpc.ts';
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
