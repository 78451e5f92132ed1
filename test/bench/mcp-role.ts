/** One process of the gateway benchmark: a gateway or a connect, told what to be by its parent. */
import { createPrivateKey } from 'node:crypto';
import { startConnect } from '@chancery/agent/mcp/connect.ts';
import { startGateway } from '@chancery/agent/mcp/gateway.ts';
import { systemClock } from '@chancery/shared/clock.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import { jsonLog } from '@chancery/shared/log.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import type { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import { LiveValue } from '@chancery/shared/source.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';

export interface Role {
  readonly role: 'gateway' | 'connect';
  readonly id: string;
  readonly chain: readonly string[];
  readonly key: string;
  readonly trustDomain: string;
  readonly authorities: readonly string[];
  readonly resources: readonly (McpServer | Access)[];
  readonly server: string;
  readonly upstream: string;
}

const live = <T>(value: T) => new LiveValue<T>(() => new IdentityError('unavailable', 'no value yet'), value);
const bytes = (text: string) => Buffer.from(text, 'base64');

async function start(role: Role): Promise<void> {
  const ends = new Date(Date.now() + 3_600_000);
  const sources = {
    svid: live({
      id: parseSpiffeId(role.id),
      chain: role.chain.map(bytes),
      key: createPrivateKey(role.key),
      notBefore: new Date(),
      notAfter: ends,
      renewAfter: ends,
    }),
    bundle: live({
      trustDomain: parseTrustDomain(role.trustDomain),
      authorities: role.authorities.map(bytes),
      sequence: 1n,
    }),
    policy: live(compilePolicy(role.resources, 1n)),
    clock: systemClock,
    log: jsonLog('error', role.role),
  };
  const { server } = role;
  let events = 0;
  const record = () => {
    events += 1;
  };
  const { port } =
    role.role === 'gateway'
      ? await startGateway({
          ...sources,
          server,
          record,
          listen: { host: '127.0.0.1', port: 0 },
          upstream: { kind: 'url', url: new URL(role.upstream) },
        })
      : await startConnect({
          ...sources,
          server,
          local: { kind: 'tcp', port: 0 },
          uid: process.getuid?.() ?? 0,
          platform: process.platform,
        });
  process.send?.({ port });
  process.on('SIGINT', () => process.exit(0));
  process.on('message', () =>
    process.send?.({ rss: process.memoryUsage.rss(), cpu: process.cpuUsage(), events }),
  );
}

process.once('message', (role: Role) => void start(role));
