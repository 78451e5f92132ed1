import { expect, test } from 'vitest';
import { Resource } from '../registry/resources.ts';
import { staleListWarning } from './stale-lists.ts';

const identity = (name: string, ttl: string) =>
  Resource.parse({
    kind: 'Identity',
    name,
    platform: 'unix',
    id: 'spiffe://prod.example/x',
    x509: { ttl },
  });
const set = [identity('a', '10m'), identity('b', '1h')];
const listen = '0.0.0.0:80';

test('lists that are served and live longer than any certificate are warned of', () => {
  expect(staleListWarning({ listen, ttl: 3_601 }, set)).toMatch(/crl.ttl is 3601 s, .* longer than 3600 s/);
});

test.each([
  ['as long as the longest', { listen, ttl: 3_600 }, set],
  ['not served', { ttl: 86_400 }, set],
  ['of no certificates', { listen, ttl: 86_400 }, []],
])('lists that are %s are not', (_, life, resources) => {
  expect(staleListWarning(life, resources)).toBeUndefined();
});
