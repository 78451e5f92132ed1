/**
 * A caller on the CA's own socket, by kernel-verified peer credentials. Proves the uid and gid at connect(2). It does
 * not prove which program it is, nor tell two processes of one user apart.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { z } from 'zod';
import type { Attestor, AttestorKind, Facts, Turn } from './attestor.ts';

const UnixConfig = z.strictObject({});
type UnixConfig = z.infer<typeof UnixConfig>;

export const unixKind: AttestorKind<UnixConfig> = {
  type: 'unix',
  says: "Processes on the CA's own machine, over its own socket.",
  schema: UnixConfig,
  create: unixAttestor,
};

/** Throws peer_unknown for a call that did not come over the CA's own socket. */
export function unixAttestor(): Attestor {
  return {
    type: 'unix',
    async attest(opening, { peer }: Turn): Promise<Facts> {
      ensure(opening.length === 0, 'evidence_parse', 'on a unix socket the kernel speaks, not the agent');
      ensure(peer !== undefined, 'peer_unknown', "the call did not come over the CA's own unix socket");
      peer.ensureStillThere();
      const { uid, gid } = peer;
      return {
        node: `uid/${uid}`,
        attributes: { uid: String(uid), gid: String(gid) },
        exclusive: false,
      };
    },
  };
}
