import type { Serving } from '@chancery/proto/gen/chancery/v1/serving.ts';
import { expect, test } from 'vitest';
import { printServing } from './serving.ts';

const serving: Serving = {
  ...{ version: '1.0.0', since: 0n, unfit: '', warnings: [], settings: [], files: [] },
  ...{ policy: 3n, resources: 1n, revocations: 2n, authorities: [] },
};
const said = (version: string): string => {
  const lines: string[] = [];
  printServing({ serving, restart: [] }, version, { out: (text) => void lines.push(text) });
  return lines.join('');
};

test('a restart that would start another version of the program is said to', () => {
  expect(said('1.1.0')).toMatch(/a restart would change .*\n {2}chancery-ca 1\.0\.0: 1\.1\.0\n$/);
  expect(said('1.0.0')).toMatch(/\na restart would load what it has: nothing differs\n$/);
});
