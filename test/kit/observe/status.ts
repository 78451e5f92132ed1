/** The status of an agent: as a running one reports it, and an example. */
import { readStatus as read } from '@chancery/agent/workload/attach.ts';
import type { StatusReport } from '@chancery/agent/workload/local-messages.ts';

type Joined = { [K in keyof StatusReport]: K extends 'serial' | 'spiffeId' ? string : StatusReport[K] };

/** Throws where no agent answers, or if it has not joined. */
export async function readStatus(socket: string): Promise<Joined> {
  const status = await read(socket);
  const { serial, spiffeId } = status;
  if (serial === null || spiffeId === null) throw new Error(status.problems.join('; '));
  return { ...status, serial, spiffeId };
}

/** What an agent without problems reports. */
export const WELL: StatusReport = {
  version: '1.2.3',
  spiffeId: 'spiffe://prod.example/web',
  serial: '0102',
  notAfter: '2026-06-01T13:00:00.000Z',
  renewAfter: '2026-06-01T12:30:00.000Z',
  expired: false,
  renewalFailure: null,
  revoked: null,
  trustStream: { up: true, since: '2026-06-01T12:00:00.000Z', failure: null },
  skewSeconds: 0,
  policyVersion: 7,
  servers: ['github', 'jira'],
  gateway: { server: 'github', port: 8443 },
  connect: [{ server: 'jira', listen: 'unix:/run/jira.sock' }],
  outputs: [],
  problems: [],
};
