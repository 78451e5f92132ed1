import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { agentCli } from '../../../../test/kit/observe/agent-cli.ts';

const dir = mkdtempSync(join(tmpdir(), 'exec-'));
afterAll(() => rmSync(dir, { recursive: true }));
const runtime = mkdtempSync(join(dir, 'run-'));
const config = join(dir, 'agent.yaml');
const ca = { address: '127.0.0.1:1', bundle: 'none.pem' };
writeFileSync(config, stringify({ trustDomain: 'prod.example', ca, platform: 'auto', dataDir: 'data' }));

/** Platforms are found at once: a variable says that this is a CI job. */
const env = { XDG_RUNTIME_DIR: runtime, CHANCERY_ID_TOKEN: 'a.b.c' };
const cli = (...args: readonly string[]) => agentCli(args, { env });

describe('exec', () => {
  test('wants a command', async () => {
    const { status, err } = await cli('exec', '--config', config);
    expect(status).toBe(2);
    expect(err).toContain('expected: exec -- COMMAND [ARGUMENT...]');
  });

  test('that cannot join runs nothing, says why and leaves no folder', async () => {
    const left = join(dir, 'was-run');
    const { status, err } = await cli('exec', '--config', config, '--', 'touch', left);
    expect(status).toBe(1);
    expect(err).toMatch(/^chancery-agent: the bundle \/.*none\.pem: no such file/);
    expect(readdirSync(runtime)).toEqual([]);
    expect(readdirSync(dir)).not.toContain('was-run');
  });

  test('that is misused leaves no folder', async () => {
    const { status, err } = await cli('exec', '--ca', 'a:1', '--config', config, '--', 'true');
    expect(status).toBe(2);
    expect(err).toContain('--ca is instead of a config');
    expect(readdirSync(runtime)).toEqual([]);
  });
});

describe('issue', () => {
  test('wants a folder', async () => {
    const { status, err } = await cli('issue', '--config', config);
    expect(status).toBe(2);
    expect(err).toContain('expected --out DIR');
  });

  test('that cannot join writes nothing', async () => {
    const out = join(dir, 'out');
    const { status, err } = await cli('issue', '--config', config, '--out', out);
    expect(status).toBe(1);
    expect(err).toMatch(/none\.pem: no such file/);
    expect(readdirSync(dir)).not.toContain('out');
  });
});
