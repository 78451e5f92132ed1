import { expect, test } from 'vitest';
import { hasWord, indexedWords, isIndexed, saysWord } from './words.ts';

const SERIAL = '40231f0be537b1f565b7feff8280814cd5';

test.each<[string, string, readonly string[]]>([
  ['a SPIFFE ID', '{"id":"spiffe://prod.example/a.b_c-d"}', ['spiffe://prod.example/a.b_c-d']],
  ['one in a sentence', '{"x":"for spiffe://prod.example/a, and"}', ['spiffe://prod.example/a']],
  ['one before a port', '{"x":"spiffe://prod.example/a:8443"}', ['spiffe://prod.example/a']],
  ['none behind other letters', '{"x":"xspiffe://prod.example/a"}', []],
  ['a serial number', `{"serial":"${SERIAL}"}`, [SERIAL]],
  ['no digest', `{"sha256":"${SERIAL}${SERIAL}"}`, []],
  ['no part of a longer name', `{"node":"x-${SERIAL}"}`, []],
  ['a code', '{"type":"request.refused","code":"csr_pop"}', ['csr_pop']],
  ['server and tool', '{"server":"git","tool":"a \\"b\\""}', ['"server":"git"', '"tool":"a \\"b\\""']],
  ['a rule', '{"rule":"readers","text":"\\"rule\\":\\"x\\""}', ['"rule":"readers"']],
])('words: %s', (_, text, words) => {
  expect([...(indexedWords(text) ?? [])].sort()).toEqual([...words].sort());
  for (const word of words) expect([isIndexed(word), hasWord(text, word)]).toEqual([true, true]);
});

test('I170 a reported call has the words of its own fields, whatever its texts mention', () => {
  const [id, caller] = ['spiffe://prod.example/a', 'spiffe://prod.example/caller'];
  const call = (record: object) =>
    JSON.stringify({ type: 'call.recorded', reporter: id, serial: SERIAL, number: 1, record });
  const words = (record: object) => [...(indexedWords(call(record)) ?? [])].sort();
  const own = ['"server":"git"', SERIAL, id];
  const many = Array.from({ length: 500 }, (_, n) => `${caller}${n}`).join(' ');
  expect(words({ server: 'git', reason: many })).toEqual(own.toSorted());
  expect(words({ server: 'git', caller, code: 'rate' })).toEqual([...own, caller, 'rate'].sort());
  // No value of a field forges another one.
  expect(words({ server: 'git', caller: '"tool":"x"', code: many })).toEqual(own.toSorted());
  expect([saysWord(call({ reason: caller }), caller), saysWord(call({ caller }), caller)]).toEqual([
    false,
    true,
  ]);
  expect(indexedWords(JSON.stringify({ type: 'operator.acting', about: many }))).toBe(undefined);
});

test('no other text is a word of the index', () => {
  for (const text of ['prod.example', 'spiffe://prod.example/*', 'operator.acting', SERIAL.slice(0, 15), ''])
    expect(isIndexed(text)).toBe(false);
});

test('of the texts around a word, it is found where the index has it', () => {
  const around = ['', ' ', '"', ':', ',', '.', '-', '/', 'a', '_', '\\', 'é'];
  for (const word of ['spiffe://prod.example/a', SERIAL, 'csr_pop'])
    for (const before of around)
      for (const after of around) {
        const text = `{"detail":"${before}${word}${after}"}`;
        expect([text, indexedWords(text)?.has(word)]).toEqual([text, hasWord(text, word)]);
      }
});
