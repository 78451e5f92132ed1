import { beforeEach, expect, test } from 'vitest';
import { applied, makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { dnsNamesOf } from './dns-names.ts';

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc([{ type: 'k8s', attest: () => Promise.reject(new Error('nobody joins here')) }]);
});

test('each DNS name of an Identity once, with the label x for what a platform proves', async () => {
  const identity = (name: string, ...dnsNames: readonly string[]) => ({
    ...{ kind: 'Identity', name, platform: 'k8s', id: `spiffe://prod.example/${name}` },
    x509: { dnsNames },
  });
  await applied(
    rpc,
    identity('a', 'a.svc', '{pod}.{namespace}.svc', 'pod-{pod}.svc'),
    identity('b', 'a.svc'),
    { ...identity('c'), x509: { ttl: '10m' } },
    { kind: 'McpServer', name: 's', identity: 'spiffe://prod.example/a', address: 'm.svc:1' },
  );
  expect(dnsNamesOf(rpc.registry.sets.current())).toEqual(['a.svc', 'x.x.svc', 'pod-x.svc']);
});
