import { expect, test } from 'vitest';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { type Call, toolNamed } from '../call.ts';
import { Answers } from './answers.ts';
import { compileWhen } from './when.ts';

const where = { caller: parseSpiffeId('spiffe://prod.example/a'), server: 's' };
const one = { n: 1 };
const calls: readonly Call[] = [
  { ...where, what: toolNamed('echo'), arguments: one },
  { ...where, what: toolNamed('echo'), arguments: one },
  { ...where, what: toolNamed('echo'), arguments: { n: 2 } },
  { ...where, what: toolNamed('echo') },
  { ...where, what: toolNamed('other') },
  { ...where, what: { kind: 'resource', name: 'other' } },
  { ...where, what: { kind: 'prompt', name: 'p' }, arguments: one },
];

test.each([
  ['server == "s"', 1],
  ['args.n == 1', 3],
  ['tool == "other"', 3],
  ['tool == "echo" && args.n == 1', 5],
])('%s is evaluated anew where something that it reads is another', (text, evaluations) => {
  const when = compileWhen(text);
  const answers = new Answers();
  for (const call of calls) expect(answers.answer(when, call)).toEqual(when.answer(call));
  expect(answers.evaluated).toBe(evaluations);
});
