/** What authorities with keys on either curve issue, verified by OpenSSL, strict: the algorithm is the signing key's. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issue } from '@chancery/ca/authority/issue.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterAll, expect, test } from 'vitest';
import { makeAuthorities, memoryKeys, proven } from '../kit/ca/authority.ts';
import { NOW } from '../kit/certificates.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

const ALGORITHMS = ['ecdsa-p256', 'ecdsa-p384'] as const;
const SIGNED_WITH = { 'ecdsa-p256': 'ecdsa-with-SHA256', 'ecdsa-p384': 'ecdsa-with-SHA384' } as const;
const CHAINS = ALGORITHMS.flatMap((root) =>
  ALGORITHMS.flatMap((intermediate) => ALGORITHMS.map((leaf) => [root, intermediate, leaf] as const)),
);

function file(name: string, der: Uint8Array | undefined): string {
  const path = join(folder, name);
  writeFileSync(path, writePem('CERTIFICATE', der ?? new Uint8Array()));
  return path;
}

/** Throws with what OpenSSL said. */
const openssl = (...args: readonly string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const signedWith = (path: string): string | undefined =>
  /Signature Algorithm: (\S+)/.exec(openssl('x509', '-in', path, '-noout', '-text'))?.[1];

test.each(CHAINS)('a root on %s, an intermediate on %s and a leaf on %s verify', async (...algorithms) => {
  const [root, intermediate, leaf] = algorithms;
  const keys = { ...memoryKeys(), root: memoryKeys(root), intermediate: memoryKeys(intermediate) };
  const made = await makeAuthorities({ keys });
  const id = parseSpiffeId('spiffe://prod.example/web');
  const key = await proven(signerOf(generateKey(leaf)));
  const order = { id, key, platform: 'tpm', node: 'a', identity: 'web', ttlSeconds: 3600, dnsNames: [] };
  const { chain } = await issue(order, made);
  expect(verifySvid(chain, made.authorities.bundle.current(), NOW).id).toBe(id);
  const anchor = file('root.pem', made.root.certificate);
  const [web, between] = [file('web.pem', chain[0]), file('between.pem', chain[1])];
  const strict = ['-x509_strict', '-check_ss_sig', '-attime', String(NOW.getTime() / 1000)];
  const above = ['-CAfile', anchor, '-untrusted', between];
  for (const purpose of ['sslserver', 'sslclient'])
    expect(openssl('verify', ...strict, '-purpose', purpose, ...above, web)).toMatch(/: OK$/m);
  expect([anchor, between, web].map(signedWith)).toEqual(
    [root, root, intermediate].map((signing) => SIGNED_WITH[signing]),
  );
  expect((await made.store.authorities()).map(({ algorithm }) => algorithm)).toEqual([intermediate, root]);
});
