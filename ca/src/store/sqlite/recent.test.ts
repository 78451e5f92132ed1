import { expect, test } from 'vitest';
import { NOW } from '../../../../test/kit/certificates.ts';
import { issuance } from '../../../../test/kit/store/records.ts';
import { RecentIssuances } from './recent.ts';

const of = (serial: string) => ({ ...issuance, serial, recordedAt: NOW });

test('a full memory forgets the record that was asked for longest ago', () => {
  const recent = new RecentIssuances(2);
  recent.keep(of('01'));
  recent.keep(of('02'));
  expect(recent.get('01')).toEqual(of('01'));
  recent.keep(of('03'));
  expect(['01', '02', '03'].filter((serial) => recent.get(serial) !== undefined)).toEqual(['01', '03']);
  recent.keep(of('03'));
  expect(recent.get('01')).toEqual(of('01'));
  recent.forget();
  expect(recent.get('01')).toBeUndefined();
});
