import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../test/kit/processes.ts';
import { refusal } from '../../test/kit/refusal.ts';
import { parseAgentConfig } from './config/read.ts';
import { ensureConfiguredPortsFree } from './free-ports.ts';

let holder: net.Server;
let taken: string;
beforeAll(async () => {
  holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  taken = `127.0.0.1:${(holder.address() as AddressInfo).port}`;
});
afterAll(() => void holder.close());

const config = (more: string) =>
  parseAgentConfig(
    `trustDomain: prod.example
ca: { address: 'ca:8443', bundle: bundle.pem }
platform: auto
dataDir: data
${more}`,
    '/etc/chancery/agent.yaml',
  );
const gateway = (listen: string) => `gateway:
  server: notes
  listen: ${listen}
  upstream: { url: 'http://127.0.0.1:1/mcp' }
`;
const connect = (...listen: readonly string[]) =>
  `connect:\n${listen.map((each) => `  - server: notes\n    listen: ${each}\n`).join('')}`;

test.each([
  ['of a gateway', () => gateway(taken), '7: gateway.listen'],
  ['of connect', () => connect('127.0.0.1:0', taken), '9: connect.1.listen'],
  ['of health', () => `http: ${taken}\n`, '5: http'],
])('a taken port %s is reported with the line of the config and the process', async (_, more, where) => {
  await expect(ensureConfiguredPortsFree(config(more()))).rejects.toThrow(
    refusal(
      'unavailable',
      new RegExp(
        `^/etc/chancery/agent\\.yaml:${where}: cannot listen on ${taken}: another process has this address: \\S.*, pid ${process.pid}$`,
      ),
    ),
  );
});

test('ports that are free are free again afterwards', async () => {
  const port = await freePort();
  const settings = config(gateway(`127.0.0.1:${port}`) + connect('unix:/run/notes.sock', '127.0.0.1:0'));
  await ensureConfiguredPortsFree(settings);
  await ensureConfiguredPortsFree(settings);
});
