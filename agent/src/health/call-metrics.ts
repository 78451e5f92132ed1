/**
 * What a gateway does, in numbers: decisions, how long calls take, sessions. Labels are bounded, whatever callers send:
 * `server` is one of the gateway's own servers, `kind` one of a fixed list. No label has a name that a caller chooses.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { CallEvent } from '../mcp/call-event.ts';

/** What is open behind a gateway. */
export interface OpenSessions {
  readonly server: string;
  /** Sessions of the legacy era. */
  readonly sessions: number;
}

/** Bounds of a call's duration in seconds, as OpenTelemetry has them for MCP. */
const SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];

const KINDS: ReadonlySet<string> = new Set([
  ...['tools', 'resources', 'prompts', 'completion', 'tasks', 'subscriptions', 'logging'],
  ...['sampling', 'elicitation', 'roots', 'notifications', 'initialize', 'ping', 'server'],
]);

/** The part of MCP that a method belongs to: what is before its slash. A request without a message is a stream. */
function kindOf({ method, httpMethod }: Pick<CallEvent, 'method' | 'httpMethod'>): string {
  if (method === undefined) return httpMethod === undefined ? 'other' : 'stream';
  const [first = ''] = method.split('/', 1);
  return KINDS.has(first) ? first : 'other';
}

/** Returns what counts an event. `sessions` is asked at each scrape. */
export function addCallMetrics(
  sessions: () => readonly OpenSessions[],
  registers: Registry[],
): (event: CallEvent) => void {
  const decisions = new Counter({
    name: 'chancery_gateway_decisions_total',
    help:
      'Decisions by server, answer (allowed, observed, denied) and kind: the part of the method before its slash ' +
      '(tools, resources, ...), stream for GET and DELETE, other for the rest.',
    labelNames: ['server', 'decision', 'kind'],
    registers,
  });
  const durations = new Histogram({
    name: 'chancery_gateway_call_seconds',
    help: 'Duration of allowed requests by server, kind and outcome: result, error, abandoned, unknown.',
    labelNames: ['server', 'kind', 'outcome'],
    buckets: SECONDS,
    registers,
  });
  new Gauge({
    name: 'chancery_gateway_sessions',
    help: 'Open sessions of the legacy era, by server.',
    labelNames: ['server'],
    registers,
    collect() {
      for (const each of sessions()) this.set({ server: each.server }, each.sessions);
    },
  });
  return (event) => {
    const { stage, server, allow, observed, outcome, latencyMs, count = 1 } = event;
    const kind = kindOf(event);
    if (stage === 'decided') {
      const decision = allow !== true ? 'denied' : observed === true ? 'observed' : 'allowed';
      decisions.inc({ server, decision, kind }, count);
    } else if (stage === 'answered' && latencyMs !== undefined)
      durations.observe({ server, kind, outcome: outcome ?? 'unknown' }, latencyMs / 1000);
  };
}
