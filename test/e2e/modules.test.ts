/**
 * What programs load. The libraries of the platforms are tens of megabytes on disk and most of a process's memory: who
 * is not on that platform must not pay for them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeWorld } from '../demo/world.ts';
import { RECORD_MODULES } from '../kit/observe/record-modules.ts';
import {
  AGENT_MAIN,
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  startProgram,
} from '../kit/processes.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../kit/tpm/swtpm.ts';

const TRUST_DOMAIN = 'modules.example';
/** By the beginning of their names. */
const OF_PLATFORMS = ['@aws-sdk/', '@smithy/', '@aws-crypto/', 'jose', '@kubernetes/', 'undici'];
/** Nothing of a cloud's but what the test says. */
const NOWHERE = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(AWS|GITHUB|GITLAB|ACTIONS|KUBERNETES|CHANCERY)_/.test(name),
  ),
);

let dir: string;
let tpm: SoftwareTpm;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  tpm = await makeSoftwareTpm();
  const { roots, intermediates } = tpm;
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, tpm: { roots, intermediates } } });
  serving = await startProgram(CA_MAIN, ['serve', '--config', ca.config], recordingTo('ca'));
  await ca.saveBundle();
  await ca.apply(
    ['unix', 'tpm'].map((platform) => {
      return { kind: 'Identity', name: platform, platform, id: `spiffe://${TRUST_DOMAIN}/${platform}` };
    }),
  );
});
afterAll(async () => {
  await serving.stop();
  await tpm.stop();
  removeFolder(dir);
});

const recordingTo = (name: string) => ({
  ...NOWHERE,
  NODE_OPTIONS: `--import=${RECORD_MODULES}`,
  RECORD_MODULES_TO: join(dir, `${name}.modules`),
});

const PACKAGE = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/;

/** The names of the packages from which a program that wrote there has loaded anything. */
function packagesOf(name: string): readonly string[] {
  const lines = readFileSync(join(dir, `${name}.modules`), 'utf8')
    .trimEnd()
    .split('\n');
  return [...new Set(lines.flatMap((line) => PACKAGE.exec(line)?.[1] ?? []))];
}

const ofPlatforms = (name: string): readonly string[] =>
  packagesOf(name).filter((each) => OF_PLATFORMS.some((start) => each.startsWith(start)));

/** An agent from its start to its first certificate and its end. */
async function runAgent(name: string, evidence: object): Promise<void> {
  const agent = makeAgent(ca, name, { evidence });
  await (await startProgram(AGENT_MAIN, ['run', '--config', agent.config], recordingTo(name))).stop();
}

/** A job that looks where it is; what it says when it gets no certificate. */
async function lookAround(name: string, env: NodeJS.ProcessEnv): Promise<string> {
  const agent = makeAgent(ca, name, { platform: 'auto' });
  const args = ['issue', '--out', join(agent.dir, 'out'), '--config', agent.config];
  const running = startProgram(AGENT_MAIN, args, { ...recordingTo(name), ...env });
  return running.then(({ log }) => log(), String);
}

describe('no library of a platform is loaded by', () => {
  test('an agent with peer credentials', async () => {
    await runAgent('by-unix', { unix: {} });
    expect(packagesOf('by-unix')).toContain('@grpc/grpc-js');
    expect(ofPlatforms('by-unix')).toEqual([]);
  });

  test('an agent that speaks by a TPM', async () => {
    await runAgent('by-tpm', { tpm: { device: tpm.device } });
    expect(packagesOf('by-tpm')).toContain('@grpc/grpc-js');
    expect(ofPlatforms('by-tpm')).toEqual([]);
  });

  test('an agent that looks for all platforms and finds none', async () => {
    const said = await lookAround('by-looking', { AWS_EC2_METADATA_DISABLED: 'true' });
    // Where the machine is a VM of a cloud's, that is found, and the CA does not know it.
    expect(said).toMatch(/no supported platform|refused/);
    expect(packagesOf('by-looking')).toContain('zod');
    expect(ofPlatforms('by-looking')).toEqual([]);
  });

  test('a CA that these may join', async () => {
    expect(packagesOf('ca')).toContain('@grpc/grpc-js');
    expect(ofPlatforms('ca')).toEqual([]);
  });
});

test('an agent that finds AWS loads AWS’s, and nobody else’s', async () => {
  const env = {
    AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'x',
    AWS_REGION: 'eu-west-1',
  };
  // The CA knows no AWS: by then, the agent had its credentials.
  expect(await lookAround('on-aws', env)).toMatch(/refused/);
  const loaded = ofPlatforms('on-aws');
  expect(loaded).toContain('@aws-sdk/credential-provider-node');
  expect(loaded.filter((name) => !/^@(aws|smithy)/.test(name))).toEqual([]);
});

/** It is started for each client; the agent that it is attached to speaks gRPC for it. */
test('a connect beside a running agent loads no gRPC, calls of tools included', async () => {
  const world = await makeWorld(() => {}, 'unix');
  const client = new Client({ name: 'test', version: '1' });
  const args = [AGENT_MAIN, 'connect', 'everything', '--config', world.client.config];
  const { NODE_OPTIONS, RECORD_MODULES_TO } = recordingTo('connect');
  const env = { ...process.env, NODE_OPTIONS, RECORD_MODULES_TO } as Record<string, string>;
  try {
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args, env, stderr: 'inherit' }),
    );
    const { content } = await client.callTool({ name: 'echo', arguments: { message: 'x' } });
    expect(content).toEqual([{ type: 'text', text: 'Echo: x' }]);
  } finally {
    await client.close();
    await world.close();
  }
  expect(readFileSync(join(dir, 'connect.modules'), 'utf8')).toMatch(/agent\/src\/mcp\/connect\.ts/);
  expect(packagesOf('connect').filter((name) => /^@grpc/.test(name))).toEqual([]);
  expect(ofPlatforms('connect')).toEqual([]);
});
