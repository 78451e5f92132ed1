/** The fleet of bench `revocation` in processes: agents that share one would wait for each other. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import type { Agent, Parts, Served } from './fleet.ts';

export type ToMember =
  | {
      readonly kind: 'connect';
      readonly served: Pick<Served, 'bundle'> & Address;
      readonly agents: readonly Sent[];
    }
  /** Say when this SPIFFE ID is revoked at each of them, or is no longer. */
  | { readonly kind: 'revoked' | 'lifted'; readonly id: string };

export type FromMember =
  | { readonly kind: 'connected' | 'waiting' }
  | { readonly kind: 'reached'; readonly at: readonly bigint[] }
  | { readonly kind: 'failed'; readonly why: string };

type Address = { readonly ca: Pick<Served['ca'], 'port'> };

/** An agent as it crosses to another process. */
interface Sent extends Pick<Agent, 'instance'> {
  readonly svid: Omit<Svid, 'key'>;
  readonly pkcs8: Uint8Array;
}

const MEMBER = fileURLToPath(new URL('./member.ts', import.meta.url));

export class Groups {
  readonly #members: readonly ChildProcess[];

  constructor(count: number, parts: Parts) {
    this.#members = Array.from({ length: count }, () => fork(MEMBER, { serialization: 'advanced' }));
    parts.push(async () => {
      for (const member of this.#members) {
        const ended = once(member, 'exit');
        member.kill();
        await ended;
      }
    });
  }

  /** Of the processes. */
  get pids(): readonly number[] {
    return this.#members.map(({ pid = 0 }) => pid);
  }

  /** Spreads them over the processes; each has a stream when it resolves. */
  async connect({ ca, bundle }: Served, agents: readonly Agent[]): Promise<void> {
    const served = { ca: { port: ca.port }, bundle };
    const each = this.#members.map(async (member, n) => {
      const own = agents.filter((_, at) => at % this.#members.length === n).map(sent);
      const connected = heard(member, 'connected');
      member.send({ kind: 'connect', served, agents: own } satisfies ToMember);
      await connected;
    });
    await Promise.all(each);
  }

  /**
   * Resolves when all are ready to see it, with what waits until it is so everywhere and gives the nanoseconds at which
   * each agent had it in force.
   */
  async expect(kind: 'revoked' | 'lifted', id: string): Promise<() => Promise<readonly bigint[]>> {
    const reached = Promise.all(this.#members.map((member) => heard(member, 'reached')));
    const waiting = this.#members.map((member) => heard(member, 'waiting'));
    for (const member of this.#members) member.send({ kind, id } satisfies ToMember);
    await Promise.all(waiting);
    return async () => (await reached).flatMap((message) => ('at' in message ? message.at : []));
  }
}

const sent = ({ svid: { key, ...svid }, instance }: Agent): Sent => ({
  svid,
  instance,
  pkcs8: key.export({ type: 'pkcs8', format: 'der' }),
});

/** The next message of this kind. */
function heard(member: ChildProcess, kind: FromMember['kind']): Promise<FromMember> {
  return new Promise((resolve, reject) => {
    const hear = (message: FromMember): void => {
      if (message.kind !== kind && message.kind !== 'failed') return;
      member.off('message', hear);
      if (message.kind === 'failed') reject(new Error(message.why));
      else resolve(message);
    };
    member.on('message', hear);
  });
}
