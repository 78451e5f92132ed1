/** What one decision costs, under a policy of some size and with callers and tools that keep changing. */
import { type Call, toolNamed } from '@chancery/shared/policy/call.ts';
import { decide as decideCall } from '@chancery/shared/policy/decide.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Bench, Outcome } from './bench.ts';

const SERVERS = 50;
const RULES = 200;
const CALLERS = 200;
const DECISIONS = 400_000;

export const decide: Bench = {
  says: `one policy decision, with ${RULES} rules, ${SERVERS} servers and ${CALLERS} callers`,
  async run(progress) {
    progress(`${DECISIONS} decisions`);
    return measure();
  },
};

function measure(): Outcome {
  const resources = [...range(SERVERS).map(serverOf), ...range(RULES).map(accessOf)];
  const calls = range(4_096).map(callOf);
  const warm = compilePolicy(resources, 1n);
  for (const call of calls) decideCall(warm, call);
  const microsPerDecision = micros(DECISIONS, (n) => decideCall(warm, calls[n % calls.length] ?? callOf(n)));
  const microsPerFirstDecision = firstDecisions(resources, calls);
  return {
    json: { microsPerDecision, microsPerFirstDecision },
    table: [
      ['one decision (budget 10 us)', `${microsPerDecision.toFixed(2)} us`],
      ['the first for a caller, server and tool', `${microsPerFirstDecision.toFixed(2)} us`],
    ],
  };
}

/** Each call once, under a policy that has seen none of them. */
function firstDecisions(resources: readonly (McpServer | Access)[], calls: readonly Call[]): number {
  const fresh: Policy = compilePolicy(resources, 2n);
  return micros(calls.length, (n) => decideCall(fresh, calls[n] ?? callOf(n)));
}

function micros(count: number, step: (n: number) => { allow: boolean }): number {
  let allowed = 0;
  const started = performance.now();
  for (let n = 0; n < count; n += 1) if (step(n).allow) allowed += 1;
  const took = performance.now() - started;
  if (allowed === 0 || allowed === count) throw new Error('the benchmark decides nothing');
  return (took * 1000) / count;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const callerOf = (n: number) =>
  parseSpiffeId(`spiffe://prod.example/ns/team-${n % 20}/sa/agent-${n % CALLERS}`);

function serverOf(n: number): McpServer {
  const identity = `spiffe://prod.example/ns/tools/sa/server-${n}`;
  return McpServer.parse({
    kind: 'McpServer',
    name: `server-${n}`,
    identity,
    address: `server-${n}.tools.svc:8443`,
  });
}

function accessOf(n: number): Access {
  return Access.parse({
    kind: 'Access',
    name: `rule-${n}`,
    who: [`spiffe://prod.example/ns/team-${n % 20}/sa/*`, callerOf(n)],
    servers: range(5).map((k) => `server-${(n + k) % SERVERS}`),
    tools: { allow: ['get_issue', 'list_*', '/(search|query)_.+/'], deny: ['delete_*', '/.*_secret(s)?/'] },
  });
}

function callOf(n: number): Call {
  const tools = [
    'get_issue',
    'list_issues',
    'search_code',
    'delete_repo',
    'create_issue',
    'list_secrets',
    'query_all',
  ];
  return {
    caller: callerOf(n * 7),
    server: `server-${(n * 7) % SERVERS}`,
    what: toolNamed(`${tools[n % tools.length]}`),
  };
}
