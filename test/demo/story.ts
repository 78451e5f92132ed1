/** What the demo shows: who proved what, an allowed call, a denied one, a filtered list, rotation under load. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { readStatus } from '../kit/observe/status.ts';
import { AGENT_MAIN } from '../kit/processes.ts';
import { probeTls } from './probe.ts';
import type { World } from './world.ts';

export interface Summary {
  readonly platform: string;
  readonly client: string;
  readonly server: string;
  readonly allowedCalls: number;
  readonly deniedCalls: number;
  readonly failedCalls: number;
  readonly rotations: number;
  readonly listed: readonly string[];
  readonly tls: string;
}

export interface Telling {
  readonly say: (line: string) => void;
  readonly once: boolean;
  readonly signal: AbortSignal;
}

const PAUSE_MS = 50;
const ROTATIONS_A_SIDE = 2;
const PATIENCE_MS = 120_000;

export async function runDemo(world: World, telling: Telling): Promise<Summary> {
  const { say, once, signal } = telling;
  const ids = await tellIdentities(world, say);
  const client = await connectClient(world);
  try {
    const counts = { allowed: 0, denied: 0, failed: 0 };
    const listed = await tellCalls(client, counts, say);
    const tls = await probeTls(world);
    say(`between the two: ${tls}`);
    say(
      `certificates live 20 s; calling without a pause until each side has rotated ${ROTATIONS_A_SIDE} times`,
    );
    const rotations = await callThroughRotations({ world, client, counts }, telling);
    say(
      `${counts.allowed} calls allowed, ${counts.denied} denied, ${counts.failed} failed, ${rotations} rotations`,
    );
    if (!once && !signal.aborted) await stayUp(world, telling);
    return {
      platform: await platformOf(world, ids.client),
      client: ids.client,
      server: ids.server,
      allowedCalls: counts.allowed,
      deniedCalls: counts.denied,
      failedCalls: counts.failed,
      rotations,
      listed,
      tls,
    };
  } finally {
    await client.close();
  }
}

async function tellIdentities(
  world: World,
  say: Telling['say'],
): Promise<{ client: string; server: string }> {
  const server = await readStatus(world.gateway.socket);
  const client = await readStatus(world.client.socket);
  const how =
    world.platform === 'tpm'
      ? 'its TPM: credential activated, PCRs quoted, key bound'
      : 'peer credentials on its socket';
  say(`the server’s agent proved itself by ${how}: it is ${server.spiffeId}`);
  say(`the client’s agent proved itself likewise: it is ${client.spiffeId}`);
  return { client: client.spiffeId, server: server.spiffeId };
}

/** As the CA has it on record for the client's certificates. */
async function platformOf(world: World, id: string): Promise<string> {
  const { stdout } = await world.ca.cli('issued', '--id', id, '--json');
  const issued: { platform: string }[] = JSON.parse(stdout);
  return [...new Set(issued.map(({ platform }) => platform))].join(' and ');
}

/** The official SDK's client, which starts `chancery-agent connect` as any MCP client would from its config. */
async function connectClient(world: World): Promise<Client> {
  const client = new Client({ name: 'demo', version: '1.0.0' });
  const args = [AGENT_MAIN, 'connect', 'everything', '--config', world.client.config];
  await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: 'pipe' }));
  return client;
}

interface Counts {
  allowed: number;
  denied: number;
  failed: number;
}

async function tellCalls(client: Client, counts: Counts, say: Telling['say']): Promise<readonly string[]> {
  const answer = await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
  counts.allowed += 1;
  say(`echo is allowed; the MCP server answers: ${textOf(answer)}`);
  await tellDenied(client, 'get-env', { counts, say });
  await tellDenied(client, 'get-structured-content', { counts, say });
  const { tools } = await client.listTools();
  const listed = tools.map(({ name }) => name);
  say(`the client is shown ${listed.length} tools and no others: ${listed.join(', ')}`);
  return listed;
}

/** The reason names the rule that denied, or the lack of one. */
async function tellDenied(
  client: Client,
  name: string,
  { counts, say }: { counts: Counts; say: Telling['say'] },
): Promise<void> {
  try {
    await client.callTool({ name, arguments: {} });
    counts.failed += 1;
    say(`${name} was NOT denied`);
  } catch (error) {
    counts.denied += 1;
    const data: unknown = error instanceof Error && 'data' in error ? error.data : undefined;
    const reason =
      typeof data === 'object' && data !== null && 'reason' in data ? data.reason : String(error);
    say(`${name} is denied: ${reason}`);
  }
}

function textOf(answer: object): string {
  const content: unknown = Reflect.get(answer, 'content');
  const first: unknown = Array.isArray(content) ? content[0] : undefined;
  return typeof first === 'object' && first !== null && 'text' in first
    ? String(first.text)
    : JSON.stringify(answer);
}

interface Load {
  readonly world: World;
  readonly client: Client;
  readonly counts: Counts;
}

/** Counts a rotation when a side's own status shows another certificate. */
async function callThroughRotations(
  { world, client, counts }: Load,
  { say, signal }: Telling,
): Promise<number> {
  const sides = [
    { name: 'server', socket: world.gateway.socket, serial: '', rotations: 0 },
    { name: 'client', socket: world.client.socket, serial: '', rotations: 0 },
  ];
  const deadline = performance.now() + PATIENCE_MS;
  while (!signal.aborted && sides.some(({ rotations }) => rotations < ROTATIONS_A_SIDE)) {
    if (performance.now() > deadline) throw new Error('the certificates have not rotated within two minutes');
    await callOnce(client, counts, say);
    for (const side of sides) {
      const { serial } = await readStatus(side.socket);
      if (side.serial !== '' && side.serial !== serial) {
        side.rotations += 1;
        say(
          `the ${side.name}’s certificate rotated (${side.rotations}): ${serial}; ${counts.allowed} calls so far`,
        );
      }
      side.serial = serial;
    }
    await sleep(PAUSE_MS);
  }
  // Calls over the newest certificates count as well.
  for (let more = 0; more < 10 && !signal.aborted; more += 1) await callOnce(client, counts, say);
  return sides.reduce((sum, { rotations }) => sum + rotations, 0);
}

async function callOnce(client: Client, counts: Counts, say: Telling['say']): Promise<void> {
  try {
    const message = `call ${counts.allowed}`;
    const answer = await client.callTool({ name: 'echo', arguments: { message } });
    if (!textOf(answer).includes(message)) throw new Error(`the answer is another call’s: ${textOf(answer)}`);
    counts.allowed += 1;
  } catch (error) {
    counts.failed += 1;
    say(`a call failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function stayUp(world: World, { say, signal }: Telling): Promise<void> {
  say('everything stays up until Ctrl-C; point your own MCP client at it with:');
  const { stdout } = await world.client.cli('mcp', 'config', 'everything');
  process.stdout.write(stdout);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
