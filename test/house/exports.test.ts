/** Nothing is exported that nobody imports. Types are: they name what an exported function takes and gives. */
import { expect, test } from 'vitest';
import { isTest, sources, textOf } from './repository.ts';

const EXPORTED = /^export (?:async )?(?:const|function\*?|class) (\w+)/gm;

test('every exported value is named in another file', () => {
  const texts = new Map(sources().map((path) => [path, textOf(path)]));
  const namedIn = new Map<string, Set<string>>();
  for (const [path, text] of texts)
    for (const [name] of text.matchAll(/\b\w+\b/g))
      namedIn.set(name, (namedIn.get(name) ?? new Set()).add(path));
  const dead = [...texts]
    .filter(([path]) => /^(agent|ca|shared)\/src\//.test(path) && !isTest(path))
    .flatMap(([path, text]) =>
      [...text.matchAll(EXPORTED)]
        .map(([, name = '']) => name)
        .filter((name) => (namedIn.get(name)?.size ?? 0) < 2)
        .map((name) => `${path}: ${name}`),
    );
  expect(dead).toEqual([]);
});
