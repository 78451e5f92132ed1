import { packPieces, unpackPieces } from '@chancery/shared/evidence/pieces.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { answerOf, BINDING } from '../../../test/kit/evidence/place.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { EvidenceSource, PlatformKey } from './evidence.ts';
import { allOf, isLocal } from './several.ts';

let log: string[];
beforeEach(() => {
  log = [];
});

/** Answers a question with its own name and the question; writes down what becomes of it. */
function source(platform: string, begin: 'begins' | 'fails' = 'begins'): EvidenceSource {
  return {
    platform,
    async begin() {
      if (begin === 'fails') throw new IdentityError('tpm_device', `${platform} is away`);
      return {
        opening: platform === 'tpm' ? utf8('tpm opens') : new Uint8Array(),
        answer: async (question, binding) => {
          expect(binding).toEqual(BINDING);
          return utf8(`${platform}: ${Buffer.from(question).toString()}`);
        },
        end: async () => void log.push(`end ${platform}`),
      };
    },
    close: async () => void log.push(`close ${platform}`),
  };
}

const begin = (all: EvidenceSource) => all.begin(new Uint8Array(), AbortSignal.timeout(5_000));
const textsOf = (said: Uint8Array, names: readonly string[]) =>
  unpackPieces(said, names).map((each) => each && Buffer.from(each).toString());

test('one platform is itself, and none is refused', () => {
  const one = source('tpm');
  expect(allOf([one])).toBe(one);
  expect(() => allOf([])).toThrow(refusal('config', /^no platform is configured$/));
});

test('several are named in the order of the alphabet, and all are closed', async () => {
  const all = allOf([source('tpm'), source('gcp')]);
  expect(all.platform).toBe('gcp+tpm');
  await all.close();
  expect(log).toEqual(['close gcp', 'close tpm']);
});

test('an agent needs the CA’s socket where unix is one of them', () => {
  expect(
    [allOf([source('unix')]), allOf([source('unix'), source('tpm')]), source('tpm')].map(isLocal),
  ).toEqual([true, true, false]);
});

describe('one exchange with several', () => {
  const names = ['gcp', 'tpm'];
  const both = () => allOf([source('tpm'), source('gcp')]);

  test('opens with what each says first, where it says anything', async () => {
    expect(textsOf((await begin(both())).opening, names)).toEqual([undefined, 'tpm opens']);
  });

  test('gives each its own question, and no answer of one that was not asked', async () => {
    const asked = packPieces([utf8('a'), utf8('b')]);
    expect(textsOf(await answerOf(both(), asked), names)).toEqual(['gcp: a', 'tpm: b']);
    expect(log).toEqual(['end gcp', 'end tpm', 'close gcp', 'close tpm']);
    expect(textsOf(await answerOf(both(), packPieces([undefined, utf8('b')])), names)).toEqual([
      undefined,
      'tpm: b',
    ]);
  });

  test('refuses a CA that asks nothing of any', async () => {
    const attempt = answerOf(both(), packPieces([undefined, undefined]));
    await expect(attempt).rejects.toEqual(refusal('evidence_parse', /asks nothing of any platform$/));
  });

  test('that one cannot begin ends those that have begun, and says which is away', async () => {
    const attempt = begin(allOf([source('tpm', 'fails'), source('gcp')]));
    await expect(attempt).rejects.toEqual(refusal('tpm_device', /^tpm is away$/));
    expect(log).toEqual(['end gcp']);
  });
});

test('a key is made by the platform that keeps keys', async () => {
  const key = { pem: 'KEY' } as PlatformKey;
  const all = allOf([source('gcp'), { ...source('tpm'), createKey: async () => key }]);
  expect(await all.createKey?.()).toBe(key);
  expect(allOf([source('gcp'), source('unix')]).createKey).toBeUndefined();
});
