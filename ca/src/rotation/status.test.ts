import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import type { StoredAuthority } from '../store/store.ts';
import type { Stage, Standing } from './stage.ts';
import { type Found, later, statusOf, totalOf, type Waiver } from './status.ts';

const [web, job] = ['web', 'job'].map((name) => parseSpiffeId(`spiffe://prod.example/${name}`));
if (web === undefined || job === undefined) throw new Error('two names');

const record: StoredAuthority = {
  ...{
    serial: '40aa',
    kind: 'root',
    state: 'active',
    algorithm: 'ecdsa-p256',
    key: { home: 'memory', reference: '40aa' },
    certificate: new Uint8Array(),
  },
  ...{ notAfter: after(9), sequence: 1n, movedAt: NOW, ordinal: 1, publication: undefined },
};
const standing = (stage: Stage): Standing => ({
  stage,
  active: record,
  other: stage === 'idle' ? undefined : record,
  standby: undefined,
  endedAt: undefined,
});
const straggler = (id: typeof web) => ({
  ...{ id, platform: 'unix', node: 'uid/1', address: '10.0.0.1:1', version: '1' },
  since: NOW,
});
const nothing: Found = {
  above: [],
  warnings: [],
  missing: [],
  agents: 3,
  stragglers: [],
  unheard: [],
  chained: [],
};
const silent = { id: job, certificates: 2, until: after(50) };

describe('a step waits', () => {
  test.each<[Stage, string, Partial<Found>, readonly string[]]>([
    ['idle', 'prepare', {}, []],
    ['prepared', 'publish', {}, []],
    ['published', 'activate', {}, []],
    [
      'published',
      'activate',
      { stragglers: [straggler(web)] },
      [
        'not acknowledged by 1 of 3 connected agents: the bundle with the new root (spiffe://prod.example/web)',
      ],
    ],
    [
      'published',
      'activate',
      { unheard: [silent] },
      [
        '2 unexpired certificates of holders without a trust stream, issued before the new root was published; the last ends at ' +
          `${after(50).toISOString()} (spiffe://prod.example/job)`,
      ],
    ],
    ['published', 'activate', { chained: [silent] }, []],
    ['retiring', 'remove', {}, []],
    [
      'retiring',
      'remove',
      { chained: [silent, { id: web, certificates: 1, until: after(60) }] },
      [
        `3 unexpired certificates under the retiring root; the last ends at ${after(60).toISOString()} (spiffe://prod.example/job, spiffe://prod.example/web)`,
      ],
    ],
    ['retiring', 'remove', { stragglers: [straggler(web)], unheard: [silent] }, []],
  ])('%s -> %s with %j', (stage, next, found, waits) => {
    expect(statusOf(standing(stage), { ...nothing, ...found })).toMatchObject({ next, waits });
  });
});

describe('an operator who does not wait', () => {
  const found = { ...nothing, stragglers: [straggler(web)], unheard: [silent] };
  test.each<[string, Waiver, number]>([
    ['for nobody in particular', { without: [], everybody: false }, 2],
    ['for one that is connected', { without: [web], everybody: false }, 1],
    ['for one without a stream', { without: [job], everybody: false }, 1],
    ['for both', { without: [web, job], everybody: false }, 0],
    ['for anybody', { without: [], everybody: true }, 0],
  ])('%s', (_, waiver, waits) => {
    expect(statusOf(standing('published'), found, waiver).waits).toHaveLength(waits);
  });

  test('still waits for certificates under a root that would be removed', () => {
    const chained = { ...nothing, chained: [silent] };
    expect(statusOf(standing('retiring'), chained, { without: [job], everybody: true }).waits).toHaveLength(
      1,
    );
  });
});

test('certificates are added up, and the last end is kept', () => {
  expect(totalOf([])).toEqual({ certificates: 0 });
  const more = { id: web, certificates: 1, until: after(9) };
  expect(totalOf([silent, more])).toEqual({ certificates: 3, until: after(50) });
  expect(totalOf([more, silent])).toEqual({ certificates: 3, until: after(50) });
  expect([later(NOW, after(1)), later(after(1), NOW)]).toEqual([after(1), after(1)]);
});

test('of many, three are named', () => {
  const ids = ['a', 'b', 'c', 'd', 'e'].map((name) => parseSpiffeId(`spiffe://prod.example/${name}`));
  const { waits } = statusOf(standing('published'), { ...nothing, stragglers: ids.map(straggler) });
  expect(waits[0]).toMatch(/\(spiffe:\S+\/a, spiffe:\S+\/b, spiffe:\S+\/c, 2 more\)$/);
});
