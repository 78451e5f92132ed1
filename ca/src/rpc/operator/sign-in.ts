/** SignIn: how a person becomes an operator, over gRPC, and how their command line knows the CA. */
import { SignInService } from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { NONCE_BYTES } from '@chancery/shared/voucher/peer-note.ts';
import type { Limits } from '../../door/limits.ts';
import type { StateNotes } from '../../log/state-notes.ts';
import type { Vouchers } from '../../log/vouchers.ts';
import type { OperatorsConfig } from '../../sign-in/config.ts';
import type { SignedIn } from '../../sign-in/sign-in.ts';
import { type Caller, limitKeys } from '../caller.ts';
import { unary } from '../methods.ts';

export interface SignInMethodDeps {
  readonly limits: Limits;
  readonly notes: Pick<StateNotes, 'of' | 'ofPeer'>;
  readonly vouchers: Pick<Vouchers, 'logKey' | 'list'>;
  /** What the CA shows. */
  readonly own: { readonly svid: Source<Svid> };
  /** Undefined if the config has no `operators`. */
  readonly signIn:
    | {
        readonly config: Pick<OperatorsConfig, 'issuer' | 'clientId'>;
        readonly run: (request: { readonly idToken: string; readonly csr: Uint8Array }) => Promise<SignedIn>;
      }
    | undefined;
}

/** Anyone may call them. A sign-in takes a place and a token of the caller's rate, as an attestation does. */
export const signInMethods = ({ limits, notes, vouchers, own, signIn }: SignInMethodDeps) => {
  const given = () => {
    ensure(signIn !== undefined, 'no_sign_in', 'the config of this CA has no `operators`');
    return signIn;
  };
  return [
    unary('GetIssuer', SignInService.getIssuer, async (_, caller) => {
      limits.call('GetIssuer', limitKeys(caller).address);
      const { issuer, clientId } = given().config;
      return { issuer, clientId };
    }),
    unary('SignIn', SignInService.signIn, async (request, caller: Caller) => {
      const { run } = given();
      const place = limits.enter(caller.via === 'tls' ? 'stranger' : 'local', limitKeys(caller));
      try {
        const { chain, bundle, notAfter, id, by, role, servers, authTime } = await run(request);
        return {
          chain: chain.map(asBuffer),
          bundle: bundle.map(asBuffer),
          notAfter: unixSeconds(notAfter),
          spiffeId: id,
          role,
          servers: [...servers],
          authTime: unixSeconds(authTime),
          person: by,
        };
      } finally {
        place.leave();
      }
    }),
    unary('Prove', SignInService.prove, async ({ nonce }, caller) => {
      limits.call('Prove', limitKeys(caller).address);
      const found = `a nonce of ${nonce.length} bytes, expected ${NONCE_BYTES}`;
      ensure(nonce.length === NONCE_BYTES, 'message_parse', found);
      ensure(caller.via === 'tls', 'message_parse', 'a local socket shows nothing that could be proved');
      const certificate = caller.sees?.() ?? own.svid.current().chain[0] ?? new Uint8Array();
      return { note: notes.ofPeer({ nonce, certificate }), logKey: vouchers.logKey };
    }),
  ] as const;
};
