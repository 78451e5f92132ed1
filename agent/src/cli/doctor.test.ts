import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { agentCli, ownUid } from '../../../test/kit/observe/agent-cli.ts';
import { WELL } from '../../../test/kit/observe/status.ts';
import { serveLocalApi } from '../workload/local-api.ts';

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
const configure = (changes: object = {}): void => writeFileSync(file, stringify({ ...least, ...changes }));
beforeAll(() => {
  mkdirSync(join(dir, 'data'), { mode: 0o700 });
  configure();
});

const cli = (args: readonly string[], columns?: number) => agentCli([...args, '--config', file], { columns });

describe('doctor', () => {
  const joinSocket = join(dir, 'join.sock');
  const ca = { ...least.ca, socket: joinSocket };
  const unix = async () => JSON.parse((await cli(['doctor', '--json'])).out).platforms.at(-1);

  test('looks for the socket of the CA where the config proves unix', async () => {
    configure({ ca, evidence: { unix: {} } });
    const missing = `no CA at the socket ${joinSocket}: its socket does not exist. Start the CA, or mend ca.socket`;
    expect(await unix()).toEqual({ name: 'unix', good: false, says: missing });
    const serving = net.createServer().listen(joinSocket);
    await once(serving, 'listening');
    expect(await unix()).toEqual({ name: 'unix', good: true, says: `the CA's socket ${joinSocket} answers` });
    serving.close();
    configure();
    expect(await unix()).toMatchObject({ name: 'unix', good: false });
  });

  test('says what it found in plain words, and what to do', async () => {
    configure({ ca: { ...least.ca, bundle: undefined, pin: 'ab'.repeat(32) } });
    const { out } = await cli(['doctor']);
    expect(out).toMatch(
      /no {3}127\.0\.0\.1:1 {2}the CA does not answer: 127\.0\.0\.1:1: the connection was refused/,
    );
    expect(out).not.toMatch(/E[A-Z]+: |\b(access|connect|getaddrinfo) |Error:|Last error/);
  });

  test('fits a terminal of 40 columns, except for longer words', async () => {
    const { out } = await cli(['doctor'], 40);
    const wide = out.split('\n').filter((line) => line.length > 40 && line.trim().includes(' '));
    expect(wide).toEqual([]);
  });

  describe('of a running agent', () => {
    let served: { close(): Promise<void> } | undefined;
    afterEach(async () => {
      await served?.close();
      served = undefined;
    });
    const serve = async (spiffeId: string | null, problems: string[]): Promise<void> => {
      const status = () => ({ ...WELL, spiffeId, problems });
      served = await serveLocalApi({ path: socket, agent: undefined, status, ownUid, log: silentLog });
    };

    test('says that none runs', async () => {
      expect((await cli(['doctor'])).out).toMatch(/^no agent runs here$/m);
    });

    test.each([
      ['its problems', null, ['not joined yet: the CA refused', 'set the clock'], false],
      ['that it is well', 'spiffe://prod.example/web', [], true],
    ])('says %s', async (_, id, problems, good) => {
      await serve(id, problems);
      const { status, out } = await cli(['doctor', '--json']);
      const says = good ? `${id}, no problems` : problems.join('; ');
      expect(JSON.parse(out).agent).toEqual({ name: socket, good, says });
      // The CA is away in either case.
      expect(status).toBe(1);
    });
  });

  test('without a config reports the platforms alone', async () => {
    const { out } = await agentCli(['doctor', '--json']);
    expect(JSON.parse(out)).toMatchObject({ config: null, ca: null, agent: null });
    expect((await agentCli(['doctor'])).out).toMatch(/^no config file; the CA was not checked$/m);
  });
});
