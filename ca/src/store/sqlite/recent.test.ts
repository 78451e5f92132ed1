import { expect, test } from 'vitest';
import { NOW } from '../../../../test/kit/certificates.ts';
import { issuance } from '../../../../test/kit/store/records.ts';
import { RecentIssuances } from './recent.ts';

const of = (serial: string) => ({ ...issuance, serial, recordedAt: NOW });

const kept = (recent: RecentIssuances, ...serials: readonly string[]) =>
  serials.filter((serial) => recent.get(serial) !== undefined);

test('a full memory forgets the half that was not asked for', () => {
  const recent = new RecentIssuances(4);
  recent.keep(of('01'));
  recent.keep(of('02'));
  recent.keep(of('03'));
  expect(recent.get('01')).toEqual(of('01'));
  recent.keep(of('04'));
  expect(kept(recent, '01', '02', '03')).toEqual(['01', '03']);
  recent.forget();
  expect(kept(recent, '01', '03', '04')).toEqual([]);
});

test('no more is kept than was said', () => {
  const recent = new RecentIssuances(4);
  const serials = Array.from({ length: 9 }, (_, n) => `0${n}`);
  for (const serial of serials) recent.keep(of(serial));
  expect(serials.filter((serial) => recent.get(serial) !== undefined).length).toBeLessThanOrEqual(4);
});
