import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { agentCli } from '../../../test/kit/observe/agent-cli.ts';

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

const cli = (...args: readonly string[]) => agentCli([...args, '--config', file]);

describe('misuse', () => {
  const unix = { evidence: { unix: {} }, ca: { ...least.ca, socket: 'join.sock' } };
  const inTpm = { evidence: { tpm: { key: 'tpm' } }, outputs: [{ dir: 'out' }] };
  test.each<readonly [string, object, readonly string[], RegExp]>([
    [
      'gateway without one in the config',
      unix,
      ['gateway'],
      /gateway: server, listen and upstream are expected/,
    ],
    ['connect to all on an address', unix, ['connect', '--listen', 'unix:a'], /--listen is for one server/],
    [
      'connect to one with --find-tools',
      unix,
      ['connect', 'a', '--find-tools'],
      /--find-tools is for connect/,
    ],
    ['connect with two names', unix, ['connect', 'a', 'b'], /expected: connect \[NAME\]/],
    [
      'connect on every interface',
      unix,
      ['connect', 'a', '--listen', '0.0.0.0:1'],
      /--listen is unix:PATH or/,
    ],
    [
      'connect with a key in the TPM',
      inTpm,
      ['connect', 'a'],
      /connect: this needs a key that the agent can use/,
    ],
    ['mcp without its verb', unix, ['mcp'], /expected: mcp ls, mcp tools NAME/],
    ['a flag of another verb of mcp', unix, ['mcp', 'ls', '--write'], /--write is not for mcp ls/],
    ['mcp call without a tool', unix, ['mcp', 'call', 'github'], /expected: mcp call NAME TOOL/],
    ['mcp call with half an argument', unix, ['mcp', 'call', 'github', 'x', 'y'], /^y: not KEY=VALUE/],
    ['mcp call with an argument twice', unix, ['mcp', 'call', 'g', 'x', 'y=1', 'y=2'], /^y is given twice/],
    ['mcp call with half an object', unix, ['mcp', 'call', 'g', 'x', '{"a":'], /not one JSON object/],
    ['mcp for a name of no server', unix, ['mcp', 'config', 'A_'], /NAME A_: a name is lower-case letters/],
    ['connect to a name of no server', unix, ['connect', 'a-'], /NAME a-: a name is lower-case letters/],
    ['mcp for an unknown client', unix, ['mcp', 'config', 'a', '--client', 'toString'], /--client is one of/],
    ['a config that is broken', { ca: {} }, ['run'], /ca\.address/],
    ['an unknown command', unix, ['toString'], /unknown command "toString"/],
  ])('%s', async (_, changes, args, says) => {
    configure(changes);
    const { status, err } = await cli(...args);
    expect(status).toBe(2);
    expect(err).toMatch(says);
    configure();
  });
});

test('connect ends with the reason when its client leaves before an agent has answered', async () => {
  configure({ evidence: { unix: {} }, ca: { ...least.ca, socket: 'join.sock' } });
  // What an agent that was killed leaves behind: nobody answers there.
  writeFileSync(socket, '');
  const clientInput = new PassThrough();
  const running = agentCli(['connect', 'a', '--config', file], { input: clientInput });
  clientInput.write('{}\n');
  setImmediate(() => clientInput.end());
  const { status, err } = await running;
  expect(status).toBe(1);
  expect(err).toContain(`no agent answers at ${socket}`);
  rmSync(socket);
  configure();
});
