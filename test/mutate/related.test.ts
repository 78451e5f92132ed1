import { expect, test } from 'vitest';
import { testsBySource } from './related.ts';

/** In pieces, so that nobody takes these lines for imports of this file. */
const line = (head: string, path: string, tail = ';'): string => `${head}'${path}'${tail}`;
const DECIDE = '@chancery/shared/policy/decide.ts';

const sources = new Map(
  Object.entries({
    'shared/src/policy/decide.ts': line('import type { Policy } from ', './policy.ts'),
    'shared/src/policy/policy.ts':
      line('import {\n  Memo,\n} from ', './memo.ts') + line('\nexport { x } from ', './patterns.ts'),
    'shared/src/policy/memo.ts': '',
    'shared/src/policy/patterns.ts': '',
    'shared/src/policy/decide.test.ts': line('import { decide } from ', './decide.ts'),
    'agent/src/judge.ts': line('import { decide } from ', DECIDE),
    'agent/src/lazy.ts': line('const { decide } = await import' + '(', DECIDE, ');'),
    'agent/src/agent.test.ts': line('import type { Decision } from ', DECIDE),
    'test/kit/world.ts': line('import ', '../../agent/src/judge.ts'),
    'test/attacks/a.test.ts': line('import { startWorld } from ', '../kit/world.ts'),
    'test/attacks/b.test.ts': line('import { Memo } from ', '@chancery/shared/policy/memo.ts'),
    'test/e2e/c.test.ts': line('import { lazy } from ', '@chancery/agent/lazy.ts'),
  }),
);
const testsOf = testsBySource(sources);
const BESIDE = ['shared/src/policy/decide.test.ts'];

test.each([
  ['beside it, then by the fewest imports', 'shared/src/policy/decide.ts', [BESIDE, ['test/e2e/c.test.ts']]],
  ['by an import of its own', 'shared/src/policy/memo.ts', [BESIDE, ['test/attacks/b.test.ts']]],
  ['in another folder', 'agent/src/judge.ts', [['agent/src/agent.test.ts'], ['test/attacks/a.test.ts']]],
  ['of nobody', 'shared/src/policy/patterns.ts', [BESIDE]],
])('tests are found %s', (_name, file, expected) => {
  expect(testsOf(file)).toEqual(expected);
});
