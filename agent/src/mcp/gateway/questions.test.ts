import { beforeEach, describe, expect, test } from 'vitest';
import { ANSWER_WITHIN_MS, MAX_QUESTIONS_OF_CALL, type OpenUse, Questions } from './questions.ts';

let nowMs: number;
let questions: Questions;
beforeEach(() => {
  nowMs = 5;
  questions = new Questions(() => nowMs);
});

const use = (requestId: number): OpenUse => ({ requestId, what: { kind: 'tool', name: 'echo' } });
const asked = (id: number | string, ...during: readonly OpenUse[]) => ({
  ...{ asked: id, method: 'elicitation/create', asks: 'elicitation' as const },
  ...{ during, paramsSha256: 'of the question' },
});
const add = (id: number | string, ...during: readonly OpenUse[]) =>
  questions.add(asked(id, ...during), `record ${id}`);
const open = () => true;

test('the same id of a server has another one for the client each time, and is answered once', () => {
  const first = add(1);
  expect(questions.take(first.id)).toBe(first);
  expect(questions.take(first.id)).toBeUndefined();
  const second = add(1);
  expect(second.id).not.toBe(first.id);
  expect([questions.ofServer(1), questions.ofServer('1'), questions.ofServer(undefined)]).toEqual([
    second,
    undefined,
    undefined,
  ]);
  expect([questions.take(1), questions.take(undefined)]).toEqual([undefined, undefined]);
});

describe('there is no room for', () => {
  test('more than 16 open questions of a call, and 64 of a session', () => {
    const call = use(1);
    for (let n = 0; n < 16; n += 1) {
      expect(questions.whyFull([call])).toBeUndefined();
      add(n, call);
    }
    expect(questions.whyFull([call])).toBe('16 questions of this call have no answer');
    for (let n = 16; n < 64; n += 1) {
      expect(questions.whyFull([use(n)])).toBeUndefined();
      add(n, use(n));
    }
    expect(questions.whyFull([])).toBe('64 questions of this session have no answer');
    questions.take(questions.ofServer(40)?.id);
    expect(questions.whyFull([])).toBeUndefined();
  });

  test('more than 100 of a call, answered or not', () => {
    const call = use(1);
    for (let n = 0; n < MAX_QUESTIONS_OF_CALL; n += 1) questions.take(add(n, call).id);
    expect(questions.whyFull([call])).toBe('a call has at most 100 questions');
    expect(questions.whyFull([use(2)])).toBeUndefined();
  });
});

test('pings keep their id, take no room of questions, and the oldest gives way', () => {
  for (let n = 0; n < 65; n += 1) questions.addPing(n);
  expect([questions.size, questions.take(0), questions.whyFull([])]).toEqual([64, undefined, undefined]);
  expect(questions.take(1)).toMatchObject({ id: 1, asks: undefined });
  expect(questions.ofServer(2)).toBeUndefined();
  expect(questions.takeAll()).toEqual([]);
  expect(questions.size).toBe(0);
});

test('a question is over with the last of its requests, and after an hour', () => {
  const [first, second] = [use(1), use(2)];
  const both = add('both', first, second);
  const none = add('none');
  expect(questions.takeOver((each) => each === second)).toEqual([]);
  expect(questions.takeOver(() => false)).toEqual([
    [both, 'the request that the question belonged to is over'],
  ]);
  nowMs += ANSWER_WITHIN_MS;
  questions.addPing('p');
  expect(questions.takeOver(open)).toEqual([]);
  nowMs += 1;
  expect(questions.takeOver(open)).toEqual([[none, 'the question had no answer for an hour']]);
  nowMs += 2 * ANSWER_WITHIN_MS;
  expect(questions.takeOver(open)).toEqual([]);
  expect(questions.size).toBe(1);
});

test('all that is open is taken at the end of a session', () => {
  const [one, two] = [add(1), add(2, use(1))];
  questions.addPing('p');
  expect(questions.takeAll()).toEqual([one, two]);
  expect(questions.size).toBe(0);
});
