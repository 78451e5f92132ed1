/** Two writers at the same moment: one of them wins, and the other is refused. */
import { expect, test } from 'vitest';
import { after } from '../certificates.ts';
import { authority, event, issuance } from './records.ts';
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

  test('of first roots one is stored', async () => {
    const raced = await race((n) =>
      subject.store.saveAuthority({ ...authority, serial: `40${n.toString(16).padStart(2, '0')}` }, event),
    );
    expect(raced).toEqual({ won: 1, codes: ['store'] });
    expect(await subject.store.authorities()).toHaveLength(1);
    expect(await subject.store.events(0, 99)).toHaveLength(1);
  });

  test('of roots that would take the place of one another one becomes active', async () => {
    const { store } = subject;
    await store.saveAuthority(authority, event);
    const serials = Array.from({ length: RACERS }, (_, n) => `41${n.toString(16).padStart(2, '0')}`);
    for (const serial of serials) {
      await store.saveAuthority({ ...authority, serial, state: 'prepared' }, event);
      await store.moveAuthorities([{ serial, from: 'prepared', to: 'published' }], event);
    }
    const moved = await Promise.all(
      serials.map((serial) =>
        store.moveAuthorities(
          [
            { serial: authority.serial, from: 'active', to: 'retiring' },
            { serial, from: 'published', to: 'active' },
          ],
          event,
        ),
      ),
    );
    expect(moved.filter((each) => each !== undefined)).toHaveLength(1);
    const states = (await store.authorities()).map(({ state }) => state);
    expect(states.toSorted()).toEqual(['active', ...serials.slice(1).map(() => 'published'), 'retiring']);
  });
}
