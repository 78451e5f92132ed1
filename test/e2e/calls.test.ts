/** A thousand tool calls by the official SDK's client while both sides' certificates rotate under them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeWorld, type World } from '../demo/world.ts';
import { readStatus } from '../kit/observe/status.ts';
import { AGENT_MAIN } from '../kit/processes.ts';

const CALLS = 1000;
const ROTATIONS = 20;
let world: World;
let client: Client;
beforeAll(async () => {
  world = await makeWorld(() => {}, 'tpm', '6s');
  client = new Client({ name: 'test', version: '1' });
  const args = [AGENT_MAIN, 'connect', 'everything', '--config', world.client.config];
  await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: 'inherit' }));
});
afterAll(async () => {
  await client.close();
  await world.close();
});

test(`${CALLS} calls across ${ROTATIONS} rotations, none failed, each one recorded`, async () => {
  const sides = [world.gateway.socket, world.client.socket].map((socket) => ({
    socket,
    serials: new Set<string>(),
  }));
  const rotations = () => sides.reduce((sum, { serials }) => sum + Math.max(0, serials.size - 1), 0);
  let calls = 0;
  while (calls < CALLS || rotations() < ROTATIONS) {
    const message = `call ${calls}`;
    const { content } = await client.callTool({ name: 'echo', arguments: { message } });
    expect(content).toEqual([{ type: 'text', text: `Echo: ${message}` }]);
    calls += 1;
    if (calls % 10 === 0)
      for (const { socket, serials } of sides) serials.add((await readStatus(socket)).serial);
  }
  const lines = readFileSync(join(world.gateway.dir, 'data', 'calls.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  const events: Record<string, unknown>[] = lines.map((line) => JSON.parse(line));
  const decided = events.filter(
    ({ stage, tool, allow }) => stage === 'decided' && tool === 'echo' && allow === true,
  );
  const answered = events.filter(
    ({ stage, outcome, tool }) => stage === 'answered' && outcome === 'result' && tool === 'echo',
  );
  expect([decided.length, answered.length]).toEqual([calls, calls]);
});
