/** A kubeconfig for the stand-in: its address, its own CA, and one user by token. */
import { stringify } from 'yaml';
import type { ApiServer } from './api-server.ts';

export function kubeconfigOf({ url, caPem }: ApiServer, token: string, context = 'eu-1'): string {
  const cluster = { server: url, 'certificate-authority-data': Buffer.from(caPem).toString('base64') };
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: context, cluster }],
    users: [{ name: 'chancery', user: { token } }],
    contexts: [{ name: context, context: { cluster: context, user: 'chancery' } }],
    'current-context': context,
  });
}
