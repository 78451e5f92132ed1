/** What a restart would change. */
import { expect, test } from 'vitest';
import { differing, FileReads, settingsIn } from './loaded.ts';

const config = { file: 'ca.yaml', limits: { connections: 8, rates: [1, 2] }, crl: {}, jwt: undefined };

test('settings are named by their paths, with lists as they are and nothing of what is not set', () => {
  expect([...settingsIn(config)]).toEqual([
    ['limits.connections', '8'],
    ['limits.rates', '[1,2]'],
    ['crl', '{}'],
  ]);
});

test('what differs: another value, a setting that is new or gone, a file with another content', () => {
  const serves = {
    settings: new Map([
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ]),
    files: new Map([
      ['same.pem', '00'],
      ['other.pem', '01'],
      ['gone.pem', '02'],
    ]),
  };
  const found = {
    settings: new Map([
      ['b', '20'],
      ['c', '3'],
      ['d', '4'],
    ]),
    files: new Map([
      ['same.pem', '00'],
      ['other.pem', '11'],
      ['new.pem', '03'],
    ]),
  };
  expect(differing(serves, found)).toEqual([
    { name: 'a', serves: '1', found: undefined },
    { name: 'b', serves: '2', found: '20' },
    { name: 'd', serves: undefined, found: '4' },
    { name: 'other.pem', serves: '01', found: '11' },
  ]);
  expect(differing(serves, serves)).toEqual([]);
});

test('a file that is read again while the CA serves needs no restart', () => {
  const reads = new FileReads();
  const read = reads.reading((path) => new TextEncoder().encode(path));
  read('roots.pem');
  read('token');
  read('token');
  expect([...reads.digests.keys()]).toEqual(['roots.pem', 'token']);
  reads.started();
  read('token');
  expect([...reads.digests.keys()]).toEqual(['roots.pem']);
});
