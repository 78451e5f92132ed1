/** A fleet of agents in processes: agents that share one would wait for each other. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CaAddress } from '../../processes.ts';

export type ToMember =
  | { readonly kind: 'join'; readonly ca: CaAddress; readonly name: string; readonly count: number }
  | { readonly kind: 'count' | 'end' };

export type FromMember =
  | { readonly kind: 'issuer'; readonly url: string }
  | { readonly kind: 'joined' }
  | { readonly kind: 'counted'; readonly failures: readonly string[] }
  | { readonly kind: 'failed'; readonly why: string };

const MEMBER = fileURLToPath(new URL('./member.ts', import.meta.url));

interface Member {
  readonly name: string;
  readonly child: ChildProcess;
  readonly issuer: string;
}

export class Members {
  readonly #members: readonly Member[];

  private constructor(members: readonly Member[]) {
    this.#members = members;
  }

  /** So many processes, each with an issuer of ID tokens. The caller closes them. */
  static async start(count: number): Promise<Members> {
    const started = Array.from({ length: count }, async (_, n) => {
      const child = fork(MEMBER, { serialization: 'advanced', execArgv: ['--expose-gc'] });
      return { name: `fleet${n}`, child, issuer: (await heard(child, 'issuer')).url };
    });
    return new Members(await Promise.all(started));
  }

  /** For the CA's config. */
  attestors(trustDomain: string): object {
    const audience = `chancery://${trustDomain}`;
    return Object.fromEntries(
      this.#members.map(({ name, issuer }) => [name, { issuer, audience, claims: { fleet: ['1'] } }]),
    );
  }

  /** The SPIFFE ID of each agent has its subject. */
  identities(trustDomain: string, ttl: string): readonly object[] {
    const id = `spiffe://${trustDomain}/fleet/{subject}`;
    return this.#members.map(({ name }) => ({
      ...{ kind: 'Identity', name, platform: `oidc/${name}`, id },
      x509: { ttl },
    }));
  }

  /** Spreads the agents over the processes; each has a certificate when it resolves. */
  async join({ dir, port, trustDomain, bundle, joinSocket }: CaAddress, agents: number): Promise<void> {
    const ca = { dir, port, trustDomain, bundle, joinSocket };
    const each = this.#members.map(async ({ name, child }, n) => {
      const joined = heard(child, 'joined');
      const count = Math.floor((agents + n) / this.#members.length);
      child.send({ kind: 'join', ca, name, count } satisfies ToMember);
      await joined;
    });
    await Promise.all(each);
  }

  /** What any agent said of a renewal that failed, or of a bundle that it refused. */
  async failures(): Promise<readonly string[]> {
    const each = this.#members.map(async ({ child }) => {
      const counted = heard(child, 'counted');
      child.send({ kind: 'count' } satisfies ToMember);
      return (await counted).failures;
    });
    return (await Promise.all(each)).flat();
  }

  /** Stops every other process where it stands, as machines that sleep do. The caller lets them go on by `wake`. */
  freezeHalf(): { readonly wake: () => void } {
    const half = this.#members.filter((_, n) => n % 2 === 0);
    for (const { child } of half) child.kill('SIGSTOP');
    return {
      wake: () => {
        for (const { child } of half) child.kill('SIGCONT');
      },
    };
  }

  async close(): Promise<void> {
    const each = this.#members.map(async ({ child }) => {
      const ended = once(child, 'exit');
      child.send({ kind: 'end' } satisfies ToMember);
      await ended;
    });
    await Promise.all(each);
  }
}

type Heard<K extends FromMember['kind']> = Extract<FromMember, { readonly kind: K }>;

/** The next message of this kind. */
function heard<K extends FromMember['kind']>(member: ChildProcess, kind: K): Promise<Heard<K>> {
  return new Promise((resolve, reject) => {
    const hear = (message: FromMember): void => {
      if (message.kind !== kind && message.kind !== 'failed') return;
      member.off('message', hear);
      if (message.kind === 'failed') reject(new Error(message.why));
      else resolve(message as Heard<K>);
    };
    member.on('message', hear);
    member.once('exit', () => reject(new Error('a process of the fleet has ended')));
  });
}
