import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { expect, test } from 'vitest';
import type { Turn } from './attestor.ts';
import { unixAttestor } from './unix.ts';

const there: LivePeer = { pid: 42, uid: 1000, gid: 100, ensureStillThere() {}, close() {} };
const gone: LivePeer = {
  ...there,
  ensureStillThere() {
    throw new IdentityError('peer_gone', 'process 42 has exited');
  },
};

function turnOf(peer: LivePeer | undefined): Turn {
  return {
    now: () => new Date(0),
    key: {} as ProvenKey,
    binding: new Uint8Array(32),
    peer,
    challenge: () => Promise.reject(new Error('a unix caller is asked nothing')),
  };
}

test('gives what the kernel says', async () => {
  expect(await unixAttestor().attest(new Uint8Array(), turnOf(there))).toEqual({
    node: 'uid/1000',
    attributes: { uid: '1000', gid: '100' },
    exclusive: false,
  });
});

test.each([
  {
    name: 'a caller that sends evidence of its own',
    opening: 'x',
    peer: there,
    code: 'evidence_parse',
    says: 'the kernel speaks, not the agent',
  },
  {
    name: 'a call over TCP',
    opening: '',
    peer: undefined,
    code: 'peer_unknown',
    says: "did not come over the CA's own unix socket",
  },
  {
    name: 'I27 a process that has exited',
    opening: '',
    peer: gone,
    code: 'peer_gone',
    says: 'process 42 has exited',
  },
])('refuses $name', async ({ opening, peer, code, says }) => {
  const attempt = unixAttestor().attest(Buffer.from(opening), turnOf(peer));
  await expect(attempt).rejects.toMatchObject({ code, message: expect.stringContaining(says) });
});
