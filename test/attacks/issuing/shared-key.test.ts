/** One key for two nodes: rows I53 and I54. */
import { issue } from '@chancery/ca/authority/issue.ts';
import { issueX509 } from '@chancery/ca/rpc/exchange/attestation.ts';
import { IssueX509Request } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { expect, test } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import { callUnary, certifiedCaller, expectRefused, makeRpc, peerOf } from '../../kit/ca/rpc.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const orderOf = (node: string) =>
  ({ id, platform: 'fake', node, identity: 'web', ttlSeconds: 60, dnsNames: [] }) as const;

test('I53 of 40 keys that two nodes bring at the same moment each is certified for one of them', async () => {
  const rpc = await makeRpc();
  const keys = await Promise.all(Array.from({ length: 40 }, () => proven()));
  const races = keys.map((key) =>
    Promise.allSettled(['n1', 'n2', 'n1'].map((node) => issue({ ...orderOf(node), key }, rpc))),
  );
  for (const race of await Promise.all(races)) {
    const [first, second, third] = race;
    expect([first?.status, third?.status]).toEqual(['fulfilled', 'fulfilled']);
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'csr_key' } });
  }
  const issued = await rpc.store.issued({ limit: 1000 });
  expect(issued.map(({ node }) => node)).toEqual(Array.from({ length: 80 }, () => 'n1'));
});

test('I54 a certificate for a key that another node holds is refused, and its owner goes on', async () => {
  const rpc = await makeRpc();
  const signer = signerOf(generateKey());
  const csr = Buffer.from(await writeCsr(signer));
  const key = verifyCsr(csr);
  await issue({ ...orderOf('victim'), key }, rpc);
  const { caller } = await certifiedCaller(rpc);
  const request = IssueX509Request.encode({ csrs: [csr], succeeds: Buffer.alloc(0), scope: '' }).finish();
  const { error } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), request);
  await expectRefused(rpc, error, 'csr_key', /belongs to another node/);
  await expect(issue({ ...orderOf('victim'), key }, rpc)).resolves.toBeDefined();
});
