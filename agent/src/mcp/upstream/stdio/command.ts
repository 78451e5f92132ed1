/**
 * An MCP server that speaks stdio and that the gateway starts: one process for each legacy session, and one for each
 * caller in the modern era. A stdio server takes all input for that of one client.
 *
 * The end of a process ends its session: open requests are answered with an error, and the next request with 404. Then
 * the client begins a new session, and so a new process. So a server that crashes is restarted on demand, never in a
 * loop. One that ends without an answer is restarted less and less often.
 */
import { randomUUID } from 'node:crypto';
import { Buckets } from '@chancery/shared/door/buckets.ts';
import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Back, CommandTarget, Outbound, Upstream } from '../upstream.ts';
import { Child } from './child.ts';
import { Restarts } from './restarts.ts';

/** For sessions, and again for callers in the modern era. */
export const MAX_PROCESSES = 64;
/** The rate of one caller that has started as many as there can be. */
const STARTS_PER_SECOND = 1;

/** Variables that programs commonly need and that carry no secret. */
const COMMON = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SHELL', 'TERM'];

/** The variables that a started server gets: the common ones and those in `names`, and nothing else of `env`. */
export function allowedEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    [...COMMON, ...names].flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/**
 * Runs the command from the first request on. `maxProcesses` limits the processes of sessions, and separately those of
 * callers in the modern era. The caller closes it, which ends all processes.
 */
export function commandUpstream(
  target: CommandTarget,
  log: Log,
  maxProcesses = MAX_PROCESSES,
  clock: Clock = systemClock,
): Upstream {
  const [sessions, callers] = [new Processes(maxProcesses), new Processes(maxProcesses)];
  const bySession = new Map<string, Child>();
  const byCaller = new Map<SpiffeId, Child>();
  const children = new Children(() => new Child(target, log), maxProcesses, clock);
  const modern = (caller: SpiffeId): Child => {
    const known = byCaller.get(caller);
    if (known !== undefined) return known;
    const child = children.start(caller, callers, () => makeRoom(byCaller, maxProcesses));
    return keep(byCaller, caller, child);
  };
  const legacy = ({ session }: Outbound): Child => {
    ensure(session !== undefined, 'mcp_parse', 'a request without a session');
    const child = bySession.get(session);
    ensure(child !== undefined, 'mcp_session', 'the process of the session has ended');
    return child;
  };
  let onSessionEnd: (session: string) => void = () => {};
  const begin = (caller: SpiffeId, back: Back): Child => {
    const name = randomUUID();
    const child = keep(bySession, name, children.start(caller, sessions));
    child.onEnd(() => onSessionEnd(name));
    back.session(name);
    return child;
  };
  return {
    maxSessions: maxProcesses,
    oneChannel: true,
    send(outbound, back) {
      const { message, era, session } = outbound;
      if (era === 'modern') modern(outbound.caller).send(message, back, { renumber: true });
      else if (message?.kind === 'request' && message.method === 'initialize' && session === undefined)
        begin(outbound.caller, back).send(message, back, { renumber: false });
      else legacy(outbound).send(message, back, { renumber: false });
    },
    listen: (outbound, back) => legacy(outbound).listen(back),
    end(outbound, back) {
      void legacy(outbound).stop();
      back.answer(200, undefined);
    },
    refuse: (session, answer) => bySession.get(session ?? '')?.write(answer),
    forget: (session) => void bySession.get(session)?.stop(),
    onSessionEnd(listener) {
      onSessionEnd = listener;
    },
    close: () => children.stop(),
  };
}

function keep<K>(among: Map<K, Child>, key: K, child: Child): Child {
  among.set(key, child);
  child.onEnd(() => {
    if (among.get(key) === child) among.delete(key);
  });
  return child;
}

/** Starts processes within a rate for each caller: a start costs as much as many requests. */
class Children {
  readonly #make: () => Child;
  readonly #restarts = new Restarts();
  readonly #starts: Buckets;
  readonly #running = new Set<Child>();

  constructor(make: () => Child, maxProcesses: number, clock: Clock) {
    this.#make = make;
    const burst = Math.max(maxProcesses, MAX_PROCESSES);
    this.#starts = new Buckets({ perSecond: STARTS_PER_SECOND, burst }, clock);
  }

  /** Throws rate, mcp_upstream. `giveWay` is called only if a process may start. */
  start(caller: SpiffeId, places: Processes, giveWay: () => void = () => {}): Child {
    places.ensureRoom(caller);
    this.#restarts.ensureMayStart(caller);
    this.#starts.spend(caller, 'starts processes of the MCP server');
    giveWay();
    const child = this.#make();
    this.#running.add(child);
    child.onEnd(places.enter(caller));
    child.onEnd((how) => {
      this.#running.delete(child);
      this.#restarts.ended(caller, how);
    });
    return child;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running].map((child) => child.stop()));
  }
}

/** Throws rate. A process without open requests gives way: the next request of its caller starts another. */
function makeRoom(byCaller: Map<SpiffeId, Child>, max: number): void {
  if (byCaller.size < max) return;
  const idle = [...byCaller].find(([, child]) => child.idle);
  ensure(idle !== undefined, 'rate', `${max} callers have requests open`);
  const [caller, child] = idle;
  byCaller.delete(caller);
  void child.stop();
}

/** Bounds processes. Those that are ending, which takes seconds, have as many places again. */
class Processes {
  readonly #max: number;
  readonly #byCaller = new Map<SpiffeId, number>();
  #all = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Throws rate. */
  ensureRoom(caller: SpiffeId): void {
    const own = this.#byCaller.get(caller) ?? 0;
    const isFull = own >= this.#max || this.#all >= 2 * this.#max;
    ensure(!isFull, 'rate', `${own} processes of ${caller}, and ${this.#all} of all, run or end`);
  }

  /** The caller calls the returned function when the process has ended. */
  enter(caller: SpiffeId): () => void {
    this.#add(caller, 1);
    return () => this.#add(caller, -1);
  }

  #add(caller: SpiffeId, count: number): void {
    const own = (this.#byCaller.get(caller) ?? 0) + count;
    this.#all += count;
    if (own > 0) this.#byCaller.set(caller, own);
    else this.#byCaller.delete(caller);
  }
}
