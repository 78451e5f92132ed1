/** One tool call, by the official SDK's client, that outlives the certificates of both sides more than once. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterEach, expect, test, vi } from 'vitest';
import { makeWorld, type World } from '../demo/world.ts';
import { AGENT_MAIN } from '../kit/processes.ts';

const TTL_SECONDS = 8;
const CALL_SECONDS = 3 * TTL_SECONDS;
const TOOL = 'trigger-long-running-operation';
let world: World | undefined;
let client: Client | undefined;
afterEach(async () => {
  await client?.close();
  await world?.close();
});

interface Line {
  readonly id: string;
  readonly stage: string;
  readonly tool?: string;
  readonly serial?: string;
  readonly outcome?: string;
}

function recorded(): readonly Line[] {
  const text = readFileSync(join(world?.gateway.dir ?? '', 'data', 'calls.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

// An agent with a TPM renews over its certificate; one of the unix platform joins again.
test.each(['tpm', 'unix'] as const)('a call of three lives ends well (%s)', async (platform) => {
  world = await makeWorld(() => {}, platform, `${TTL_SECONDS}s`, [TOOL]);
  client = new Client({ name: 'test', version: '1' });
  const args = [AGENT_MAIN, 'connect', 'everything', '--config', world.client.config];
  await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: 'inherit' }));
  const steps = 4;
  const call = { name: TOOL, arguments: { duration: CALL_SECONDS, steps } };
  const { content } = await client.callTool(call, { timeout: 170_000 });
  expect(JSON.stringify(content)).toMatch(/completed/);
  // Nobody waits for the record of an answer.
  const events = await vi.waitFor(() => {
    const found = recorded();
    expect(found.filter(({ stage, tool }) => stage === 'answered' && tool === TOOL)).toHaveLength(1);
    return found;
  });
  const { id, serial } = events.find(({ stage, tool }) => stage === 'decided' && tool === TOOL) ?? {};
  const claimed = events.filter((each) => each.stage === 'claimed' && each.id === id);
  expect(claimed.length).toBeGreaterThanOrEqual(2);
  expect(new Set([serial, ...claimed.map((each) => each.serial)]).size).toBe(claimed.length + 1);
  expect(events.find((each) => each.stage === 'answered' && each.id === id)).toMatchObject({
    outcome: 'result',
  });
});
