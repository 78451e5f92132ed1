/** Two writers at the same moment: one of them wins, and the other is refused. */
import { expect, test } from 'vitest';
import { after } from '../certificates.ts';
import { event, issuance } from './records.ts';
import type { Subject } from './subject.ts';

const RACERS = 16;

export function raceTests(subject: Subject): void {
  const race = async (run: (n: number) => Promise<unknown>) => {
    const settled = await Promise.allSettled(Array.from({ length: RACERS }, (_, n) => run(n)));
    const lost = settled.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
    return { won: settled.length - lost.length, codes: [...new Set(lost)] };
  };

  test('of nodes that bring one key one is recorded', async () => {
    const { store } = subject;
    const raced = await race((n) =>
      store.record({ ...issuance, serial: `40${n.toString(16).padStart(2, '0')}`, node: `n${n}` }, event),
    );
    expect(raced).toEqual({ won: 1, codes: ['csr_key'] });
    expect(await store.issued({ limit: 99 })).toHaveLength(1);
    expect(await store.events(0, 99)).toHaveLength(1);
  });

  test('of keys that bring one token one is bound', async () => {
    const token = { platform: 'oidc', id: 'jti' };
    const raced = await race((n) => subject.store.bind(token, Buffer.alloc(32, n), after(60)));
    expect(raced).toEqual({ won: 1, codes: ['jti_replay'] });
  });

  test('of sets of resources for one version one is stored', async () => {
    const raced = await race((n) => subject.store.saveRegistry({ version: 1, resources: `[${n}]` }, event));
    expect(raced).toEqual({ won: 1, codes: ['store'] });
    expect(await subject.store.events(0, 99)).toHaveLength(1);
  });
}
