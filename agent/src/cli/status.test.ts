import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { agentCli, ownUid } from '../../../test/kit/observe/agent-cli.ts';
import { WELL } from '../../../test/kit/observe/status.ts';
import { serveLocalApi } from '../workload/local-api.ts';
import type { StatusReport } from '../workload/local-messages.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'agent.yaml');
const socket = join(dir, 'data', 'agent.sock');
const least = {
  trustDomain: 'prod.example',
  ca: { address: '127.0.0.1:1', bundle: 'bundle.pem' },
  evidence: { tpm: {} },
  dataDir: 'data',
};
mkdirSync(join(dir, 'data'), { mode: 0o700 });
writeFileSync(file, stringify(least));

const cli = (...args: readonly string[]) => agentCli([...args, '--config', file]);

describe('status', () => {
  let served: { close(): Promise<void> } | undefined;
  afterEach(async () => {
    await served?.close();
    served = undefined;
  });
  const serve = async (changes: Partial<StatusReport> = {}): Promise<void> => {
    const status = () => ({ ...WELL, ...changes });
    served = await serveLocalApi({ path: socket, agent: undefined, status, ownUid, log: silentLog });
  };

  test('tells what the agent is', async () => {
    await serve();
    expect(await cli('status')).toEqual({
      status: 0,
      err: '',
      out: `SPIFFE ID     spiffe://prod.example/web
certificate   0102
valid until   2026-06-01T13:00:00.000Z, renewed about 2026-06-01T12:30:00.000Z
CA            heard since 2026-06-01T12:00:00.000Z
policy        version 7
MCP servers   github, jira
gateway       before github, port 8443
connect       jira at unix:/run/jira.sock
`,
    });
  });

  test('tells what it is not', async () => {
    await serve({ policyVersion: null, servers: [], gateway: null, connect: [] });
    const { out } = await cli('status');
    expect(out).toMatch(/^policy {8}none yet$/m);
    expect(out).toMatch(/^MCP servers {3}none that this workload may reach$/m);
    expect(out).not.toMatch(/^(gateway|connect|renewal)/m);
  });

  test('says why a renewal fails, and is well while the certificate is', async () => {
    await serve({ renewalFailure: 'the CA does not answer' });
    const { status, out } = await cli('status');
    expect(status).toBe(0);
    expect(out).toMatch(/^renewal {7}fails: the CA does not answer$/m);
  });

  test('tells an expired certificate, a silent CA, another clock and an output that is not up to date', async () => {
    await serve({
      expired: true,
      trustStream: { up: false, since: '2026-06-01T12:00:00.000Z', failure: 'the CA does not answer' },
      skewSeconds: -90,
      outputs: [
        { dir: '/run/good', failure: null },
        { dir: '/run/tls', failure: 'disk full' },
      ],
    });
    const { out } = await cli('status');
    for (const line of [
      /^expired {7}2026/m,
      /^CA {12}not heard since 2026-06-01T12:00:00.000Z: the CA does not answer$/m,
      /^clock {9}this machine's clock is 90 s behind the CA's$/m,
      /^output {8}\/run\/good\noutput {8}\/run\/tls is not up to date: disk full$/m,
    ])
      expect(out).toMatch(line);
  });

  test.each([[], ['--json']])('is 1 for what needs a person %s', async (...flags) => {
    await serve({ problems: ['the CA was not heard for 300 s: it does not answer'] });
    const { status, out } = await cli('status', ...flags.flat());
    expect(status).toBe(1);
    expect(out).toMatch(/^PROBLEM {7}the CA was not heard|"problems": \[/m);
  });

  test('as JSON is the report', async () => {
    await serve();
    const { status, out } = await cli('status', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual(WELL);
  });

  test.each([
    ['is not said', '{"version":"0.9.0"}'],
    ['is not JSON', 'version 0.9.0'],
  ])('is 1 and a sentence for an agent of another release: something %s', async (_, body) => {
    const server = http.createServer((__, response) => response.end(body)).listen(socket);
    await once(server, 'listening');
    served = { close: async () => void server.close() };
    const { status, err } = await cli('status');
    expect(status).toBe(1);
    expect(err).toMatch(
      /^chancery-agent: the agent at \/.*agent\.sock is of another release than this program: restart/,
    );
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse((await cli('doctor', '--json')).out).agent).toMatchObject({ good: false });
  });

  test('reads the report of a newer agent, which says more', async () => {
    const later = { ...WELL, mood: 'good' };
    await serve(later);
    const { status, out } = await cli('status', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual(WELL);
  });

  test('is 1 without an agent, in a sentence', async () => {
    const { status, err } = await cli('status');
    expect(status).toBe(1);
    expect(err).toMatch(/no agent answers at .*agent\.sock: run chancery-agent run/);
    expect(err).not.toMatch(/ at .*\.ts:\d+/);
  });
});
