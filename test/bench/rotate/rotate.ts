/**
 * A whole rotation of the root, by `rotate --auto`, with a fleet of whole agents in eight processes and calls that
 * never pause between a `connect` and a gateway. The CA, `connect` and the gateway are processes of their own. The
 * part `10k` does the same with ten thousand agents, and needs `ulimit -n 65536`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { politely, startFakeServer } from '../../kit/mcp/servers/server.ts';
import { Members } from '../../kit/observe/fleet/members.ts';
import { type CaFolder, freePort, makeAgent, makeCa, makeFolder, removeFolder } from '../../kit/processes.ts';
import type { Bench, Outcome, Progress } from '../bench.ts';
import { cpuMicrosOf, rssMbOf } from '../measure.ts';

const TRUST_DOMAIN = 'bench.example';
const [CALLER, TOOLS] = [`spiffe://${TRUST_DOMAIN}/caller`, `spiffe://${TRUST_DOMAIN}/tools`];
const PROCESSES = 8;
/** A rotation waits for the end of the last certificate under the old root. */
const SMALL = { agents: 200, ttl: '60s' };
const LARGE = { agents: 10_000, ttl: '5m' };
/** Each agent has two connections while it renews. The CA takes fewer than this where its open files are limited. */
const UNBOUND = { attestationsPerSecond: 100_000, attestationBurst: 100_000, connections: 30_000 };

type Size = typeof SMALL;
type Parts = (() => unknown)[];

export const rotate: Bench = {
  says: 'a rotation of the root under agents and calls that never pause',
  parts: ['10k'],
  async run(progress, only) {
    const parts: Parts = [];
    try {
      return await measure(only.includes('10k') ? LARGE : SMALL, parts, progress);
    } finally {
      for (const part of parts.toReversed()) await part();
    }
  },
};

interface World {
  readonly ca: CaFolder;
  /** The CA's process. */
  readonly pid: number;
  readonly members: Members;
  readonly calls: Calls;
}

interface Calls {
  answered: number;
  failed: number;
}

async function startWorld({ agents, ttl }: Size, parts: Parts, progress: Progress): Promise<World> {
  const dir = makeFolder();
  parts.push(() => removeFolder(dir));
  const members = await Members.start(PROCESSES);
  parts.push(() => members.close());
  const attestors = { unix: {}, oidc: members.attestors(TRUST_DOMAIN) };
  const ca = await makeCa(dir, TRUST_DOMAIN, { attestors, limits: UNBOUND });
  const serving = await ca.serve();
  parts.push(() => serving.stop());
  await ca.saveBundle();
  const [port, local] = [await freePort(), await freePort()];
  const own = (name: string, id: string) => ({
    kind: 'Identity',
    name,
    platform: 'unix',
    id,
    x509: { ttl },
  });
  await ca.apply([
    ...members.identities(TRUST_DOMAIN, ttl),
    own('caller', CALLER),
    own('tools', TOOLS),
    { kind: 'McpServer', name: 'echo', identity: TOOLS, address: `127.0.0.1:${port}` },
    { kind: 'Access', name: 'all', who: [CALLER], servers: ['echo'], tools: { allow: ['*'] } },
  ]);
  const server = await startFakeServer();
  parts.push(() => server.close());
  server.say = politely;
  const { target } = server;
  if (target.kind !== 'url') throw new Error('the server has no URL');
  const evidence = { unix: {} };
  const gateway = { server: 'echo', listen: `127.0.0.1:${port}`, upstream: { url: target.url.href } };
  const connect = [{ server: 'echo', listen: `127.0.0.1:${local}` }];
  const [serves, calls] = [
    await makeAgent(ca, 'gateway', { evidence, id: TOOLS, gateway }).run('gateway'),
    await makeAgent(ca, 'caller', { evidence, id: CALLER, connect }).run(),
  ];
  parts.push(
    () => serves.stop(),
    () => calls.stop(),
  );
  progress(`${agents} agents join`);
  await members.join(ca, agents);
  return {
    ca,
    pid: serving.child.pid ?? 0,
    members,
    calls: await callOn(`http://127.0.0.1:${local}/mcp`, parts),
  };
}

/** Two callers, each with its next call as soon as the one before is answered. */
async function callOn(url: string, parts: Parts): Promise<Calls> {
  const counted: Calls = { answered: 0, failed: 0 };
  let isOver = false;
  const one = async (): Promise<void> => {
    while (!isOver) {
      if (await isAnswered(url)) counted.answered += 1;
      else counted.failed += 1;
    }
  };
  while (!(await isAnswered(url))) await sleep(50);
  const calling = Promise.all([one(), one()]);
  parts.push(async () => {
    isOver = true;
    await calling;
  });
  return counted;
}

async function isAnswered(url: string): Promise<boolean> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  const answer = await fetch(url, { method: 'POST', headers, body }).catch(() => undefined);
  return (await answer?.text())?.includes('"result"') ?? false;
}

async function measure(size: Size, parts: Parts, progress: Progress): Promise<Outcome> {
  const { agents, ttl } = size;
  const { ca, pid, members, calls } = await startWorld(size, parts, progress);
  progress(`${agents} agents connect`);
  while ((await connected(ca)) < agents + 2) await sleep(agents / 2);
  const before = { ...calls, cpu: cpuMicrosOf(pid), at: performance.now() };
  progress('rotating');
  const done = await ca.cli('rotate', '--auto');
  if (done.status !== 0) throw new Error(done.stderr);
  const seconds = (performance.now() - before.at) / 1000;
  const answered = calls.answered - before.answered;
  const failedCalls = calls.failed - before.failed;
  const failedRenewals = (await members.failures()).length;
  const cpuSeconds = (cpuMicrosOf(pid) - before.cpu) / 1e6;
  const rssMb = rssMbOf(pid);
  const round = (value: number): number => Math.round(value * 10) / 10;
  return {
    table: [
      [`from root to root with ${agents} agents, certificates of ${ttl}`, `${seconds.toFixed(0)} s`],
      ['calls meanwhile, and how many failed', `${answered} and ${failedCalls}`],
      ['renewals that failed, and bundles that were refused', `${failedRenewals}`],
      ['the CA: processor time, and memory at the end', `${cpuSeconds.toFixed(1)} s, ${rssMb.toFixed(0)} MB`],
    ],
    json: {
      ...{ agents, seconds: round(seconds), calls: answered, failedCalls, failedRenewals },
      ...{ cpuSeconds: round(cpuSeconds), rssMb: round(rssMb) },
    },
  };
}

async function connected(ca: CaFolder): Promise<number> {
  const { stdout } = await ca.cli('agents', '--json');
  return (JSON.parse(stdout) as unknown[]).length;
}
