/** The fuzzer itself: parsers that break one law each are found out, and those that keep them are not. */
import { Reader, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { seeded } from '../kit/random.ts';
import { type Budget, fuzz, judge, law, type Subject, type Target } from './engine.ts';
import { minimise } from './minimise.ts';
import { mutate, type Shape } from './mutate/mutate.ts';

const toy = (run: Subject['run'], seed: Uint8Array | string, shape: Shape = 'bytes'): Target => ({
  name: 'toy',
  says: 'a parser of this test',
  shape,
  open: () => ({ seeds: [typeof seed === 'string' ? utf8(seed) : seed], run }),
});
const BUDGET: Budget = { seed: 1, executions: 20_000, once: true };
const found = async (target: Target, budget: Budget = BUDGET) => (await fuzz(target, budget)).findings[0];

/** A length, then so many bytes, to the end. */
function readSized(input: Uint8Array): Uint8Array {
  const reader = new Reader(input, 'evidence_parse');
  const content = reader.sized16('it');
  reader.done('it');
  return content;
}
const sized = (content: Uint8Array): Uint8Array =>
  Uint8Array.of(content.length >> 8, content.length & 255, ...content);

describe('what breaks a law is found', () => {
  test('a RangeError instead of a refusal', async () => {
    const target = toy(
      (input) => {
        const view = new DataView(input.buffer, input.byteOffset);
        ensure(input.length > 2, 'evidence_parse', 'too short');
        view.getUint8(2 + view.getUint16(0));
        return undefined;
      },
      Uint8Array.of(0, 2, 1, 1, 1),
    );
    expect(await found(target)).toMatchObject({
      law: 'refusals',
      says: expect.stringContaining('RangeError'),
    });
  });

  test('a thrown value that is not an Error', async () => {
    const target = toy(
      (input) => {
        if (input[1] !== 2) throw 'no';
        return undefined;
      },
      Uint8Array.of(0, 2, 1, 1),
    );
    expect(await found(target)).toMatchObject({ law: 'refusals', says: 'threw no' });
  });

  test('a byte after the end that is not written back', async () => {
    const target = toy(
      (input) => {
        const reader = new Reader(input, 'evidence_parse');
        return sized(reader.sized16('it'));
      },
      Uint8Array.of(0, 2, 1, 1),
    );
    expect(await found(target)).toMatchObject({
      law: 'rewrite',
      says: expect.stringContaining('other bytes'),
    });
  });

  test("a law of the target's own", async () => {
    const target = toy(
      (input) => {
        law(readSized(input)[0] !== 3, 'the first is three');
        return undefined;
      },
      sized(Uint8Array.of(1, 2, 3)),
    );
    expect(await found(target)).toMatchObject({ law: 'rewrite', says: 'the first is three' });
  });

  test('work that grows with the square of the input', async () => {
    const target = toy((input) => {
      let same = 0;
      for (const [at, byte] of input.entries())
        for (let before = 0; before < at; before += 1) if (input[before] === byte) same += 1;
      ensure(same < 1e9, 'evidence_parse', 'too much is the same');
      return undefined;
    }, 'some text');
    const finding = await found({ ...target, maxBytes: 16 * 1024 });
    expect(finding).toMatchObject({ law: 'time', says: expect.stringMatching(/ms for \d{4,5} bytes/) });
  });

  test('a promise that rejects', async () => {
    const target = toy(async (input) => {
      await Promise.resolve();
      if (input.length > 4) throw new TypeError('later');
      return undefined;
    }, 'abcd');
    expect(await found(target)).toMatchObject({ law: 'refusals', says: expect.stringContaining('later') });
  });
});

test('what keeps the laws is not found fault with', async () => {
  const target = toy((input) => sized(readSized(input)), sized(utf8('content')));
  const { findings, accepted, executions } = await fuzz(target, { seed: 1, executions: 5_000 });
  expect(findings).toEqual([]);
  expect(executions).toBe(5_000);
  expect(accepted).toBeGreaterThan(50);
});

/** Three checks in a row, each one bit away and with its sentence, and behind them the fault. */
const maze = toy((input) => {
  const wanted = utf8('cei');
  for (const [at, byte] of wanted.entries())
    ensure(input[at] === byte, 'evidence_parse', `${'x'.repeat(at + 1)} is not as it should be`);
  throw new RangeError('the end of the maze');
}, 'aaa');

test('inputs that are refused with a new sentence lead further than genuine ones alone', async () => {
  const budget = { seed: 1, executions: 60_000, once: true };
  expect(await found(maze, budget)).toMatchObject({ law: 'refusals' });
  expect(await found(maze, { ...budget, guided: false })).toBeUndefined();
});

test('one seed is one run', async () => {
  const seen = async (seed: number): Promise<readonly string[]> => {
    const inputs: string[] = [];
    const target = toy(
      (input) => {
        const text = Buffer.from(input).toString('hex');
        // One that took long on a busy machine is tried again, to tell whether it is slow itself.
        if (inputs.at(-1) !== text) inputs.push(text);
        return sized(readSized(input));
      },
      sized(utf8('content')),
    );
    await fuzz(target, { seed, executions: 500 });
    return inputs;
  };
  expect(await seen(5)).toEqual(await seen(5));
  expect(await seen(5)).not.toEqual(await seen(6));
});

test('a finding is made as small as it can be', async () => {
  const input = utf8('a long text with a needle in a lot of hay');
  const small = await minimise(input, async (text) => Buffer.from(text).includes('needle'));
  expect(Buffer.from(small).toString()).toBe('needle');
});

test('a finding is shown again by its input alone', async () => {
  const subject: Subject = {
    seeds: [],
    run: () => {
      throw new IdentityError('der', 'it is "quoted", and 17 long');
    },
  };
  expect(await judge(subject, utf8('x'))).toEqual({ says: 'der: it is "", and 0 long' });
});

describe.each<[Shape, string]>([
  ['bytes', 'some bytes'],
  ['der', '300602010102010a'],
  ['fields', 'fields'],
  ['json', '{"a":[1,"b"],"c":null}'],
  ['jwt', 'e30.eyJhIjoxfQ.AAAA'],
])('mutations of %s', (shape, seed) => {
  test('are many, stay below the bound and leave the input alone', () => {
    const random = seeded(3);
    const input = shape === 'der' ? Buffer.from(seed, 'hex') : Buffer.from(seed);
    const before = Buffer.from(input);
    const made = new Set<string>();
    for (let n = 0; n < 3_000; n += 1) {
      const changed = mutate(input, input, { shape, maxBytes: 500, random });
      expect(changed.length).toBeLessThanOrEqual(500);
      made.add(Buffer.from(changed).toString('hex'));
    }
    expect(input).toEqual(before);
    expect(made.size).toBeGreaterThan(1_000);
  });
});
