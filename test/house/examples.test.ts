/** Examples in documents are read by what they are examples for. */
import { AgentConfig } from '@chancery/agent/config/schema.ts';
import { CaConfig } from '@chancery/ca/config.ts';
import { Resource } from '@chancery/ca/registry/resources.ts';
import { Problems, readDocuments } from '@chancery/shared/config/yaml.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { blocksOf } from './markdown.ts';
import { metricDefinitions, programs } from './reference.ts';
import { paths, textOf } from './repository.ts';

const documents = paths(/\.md$/).filter((path) => !path.startsWith('test/vectors/'));
const blocks = documents.flatMap((page) => blocksOf(textOf(page)).map((block) => ({ ...block, page })));

describe('YAML', () => {
  const examples = blocks.filter(({ kind }) => kind === 'yaml');
  test.each(examples)('$page:$line', ({ text, page, line }) => {
    const problems = new Problems();
    readDocuments(text, `${page}:${line}`, schemaFor(text), problems);
    problems.throwIfAny('config');
  });
});

/** A config of the CA names attestors, one of the agent evidence; everything else is resources. */
function schemaFor(text: string): z.ZodType {
  if (/^attestors:/m.test(text)) return CaConfig;
  return /^(evidence:|platform: auto$)/m.test(text) ? AgentConfig : Resource;
}

describe('command lines', () => {
  const lines = blocks
    .filter(({ kind }) => kind === 'sh')
    .flatMap(({ text, page, line }) =>
      text
        .replaceAll('\\\n', ' ')
        .replaceAll(/\$\([^)]*\)/g, '')
        .split(/\n|[;|&]+ /)
        .flatMap((command) => commandIn(command).map((found) => ({ ...found, page, line }))),
    );
  test.each(lines)('$page:$line $program $command', ({ program, command, flags }) => {
    const found = programs().find(({ name }) => name === program)?.commands[command];
    expect(found, `${program} has no command ${command}`).toBeDefined();
    const known = Object.entries(found?.flags ?? {}).flatMap(([name, { short }]) => [
      `--${name}`,
      `-${short}`,
    ]);
    expect(flags.filter((flag) => ![...known, '--help'].includes(flag))).toEqual([]);
  });
});

function commandIn(line: string) {
  const [, program = '', command = '', rest = ''] =
    /(?:^|\s)(chancery-(?:ca|agent)) ([a-z]+)(.*)$/.exec(line) ?? [];
  if (program === '' || command === 'completion') return [];
  const flags = [...rest.matchAll(/(?<=\s)--?[a-z][a-z-]*/g)].map(([flag]) => flag);
  return [{ program, command, flags }];
}

test('metrics that documents and alert rules speak of exist', () => {
  const exposed = Object.values(metricDefinitions()).flatMap((each) => each.map(({ name }) => name));
  const pages = [...documents, 'deploy/prometheus/rules.yaml'].filter((page) => page !== 'CHANGELOG.md');
  const told = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\b(chancery_[a-z_]+[a-z])/g)].map(([, name = '']) => ({ page, name })),
  );
  const unknown = told.filter(({ name }) => !exposed.includes(name.replace(/_(count|sum|bucket)$/, '')));
  expect(unknown).toEqual([]);
});

test('refusals that documents speak of are in the table', () => {
  const codes = documents
    .filter((page) => page.startsWith('docs/attack'))
    .flatMap((page) =>
      [...textOf(page).matchAll(/`([a-z]+_[a-z_]+)`/g)].map(([, code = '']) => ({ page, code })),
    );
  const refusals = codes.filter(({ code }) => !code.startsWith('chancery_'));
  expect(refusals.filter(({ code }) => !Object.hasOwn(REFUSALS, code))).toEqual([]);
});
