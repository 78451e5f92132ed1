/**
 * What one decision costs as the policy grows, where every rule has a condition on an argument and the caller's
 * address, and almost none of the rules can match a call.
 */
import { type Call, toolNamed } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Bench } from './bench.ts';

const SIZES = [1_000, 10_000, 100_000];
const SERVERS = 100;
/** So many different conditions: rules of one team have the same. */
const TEAMS = 1_000;
/** Pairs of caller and server, fewer than a policy remembers. */
const PAIRS = 4_096;
const DECISIONS = 200_000;
const NOW = new Date('2026-12-01T00:00:00Z');

interface Measured {
  readonly rules: number;
  /** Of callers that the policy has seen before. */
  readonly micros: number;
  /** Of callers that it has not. */
  readonly firstMicros: number;
}

export const policy: Bench = {
  says: `one policy decision by the number of rules, each with a condition, at ${SERVERS} servers`,
  async run(progress) {
    const sizes = SIZES.map((rules) => {
      progress(`${rules} rules`);
      return measure(rules);
    });
    return {
      json: { sizes },
      table: sizes.map(({ rules, micros, firstMicros }) => [
        `${rules} rules (budget 10 us)`,
        `${micros.toFixed(2)} us; the first of a caller ${firstMicros.toFixed(2)} us`,
      ]),
    };
  },
};

function measure(rules: number): Measured {
  const resources = [...range(SERVERS).map(serverOf), ...range(rules).map(accessOf)];
  const compiled = compilePolicy(resources, 1n);
  const known = range(PAIRS).map((n) => callOf(n * 7_919, rules));
  // A condition is planned when it is first asked.
  for (const n of range(TEAMS)) decide(compiled, callOf(n, rules));
  for (const call of known) decide(compiled, call);
  const micros = microsOf(DECISIONS, (n) => decide(compiled, { ...(known[n % PAIRS] ?? callOf(n, rules)) }));
  const fresh = compilePolicy(resources, 2n);
  const once = Math.min(PAIRS, rules);
  const firstMicros = microsOf(once, (n) => decide(fresh, { ...(known[n] ?? callOf(n, rules)) }));
  return { rules, micros, firstMicros };
}

function microsOf(count: number, step: (n: number) => { readonly allow: boolean }): number {
  let allowed = 0;
  const started = performance.now();
  for (let n = 0; n < count; n += 1) if (step(n).allow) allowed += 1;
  const took = performance.now() - started;
  if (allowed === 0 || allowed === count) throw new Error('the benchmark decides nothing');
  return (took * 1000) / count;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const callerOf = (n: number) => parseSpiffeId(`spiffe://prod.example/team-${n % TEAMS}/agent-${n}`);

function serverOf(n: number): McpServer {
  const identity = `spiffe://prod.example/tools/server-${n}`;
  return McpServer.parse({ kind: 'McpServer', name: `server-${n}`, identity, address: `server-${n}:8443` });
}

function accessOf(n: number): Access {
  return Access.parse({
    kind: 'Access',
    name: `rule-${n}`,
    who: [callerOf(n)],
    servers: [`server-${n % SERVERS}`],
    tools: { allow: ['get_issue', 'list_*', '/(search|query)_.+/'], deny: ['delete_*'] },
    when: `args.owner == "team-${n % TEAMS}" && source.startsWith("192.0.2.")`,
  });
}

/** Half of them have another team's owner. */
function callOf(n: number, rules: number): Call {
  const rule = n % rules;
  const tools = ['get_issue', 'list_issues', 'search_code', 'create_issue'];
  return {
    caller: callerOf(rule),
    certifiedAt: new Date(NOW.getTime() - 60_000),
    server: `server-${rule % SERVERS}`,
    what: toolNamed(tools[n % tools.length] ?? ''),
    arguments: { owner: `team-${(rule % TEAMS) + (n % 2)}`, labels: ['bug', 'ui'], title: 'x'.repeat(200) },
    now: NOW,
    source: '192.0.2.1',
  };
}
