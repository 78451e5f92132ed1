import { packPieces, unpackPieces } from '@chancery/shared/evidence/pieces.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test, vi } from 'vitest';
import { proven } from '../../../test/kit/ca/authority.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Attestor, Turn } from './attestor.ts';
import { prove } from './prove.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** Proves what it was told; asks its own name first unless it is silent. */
const attestor = (type: string, { asks = true, exclusive = false } = {}): Attestor => ({
  type,
  async attest(opening, turn) {
    const answer = asks ? text(await turn.challenge(utf8(`${type}?`))) : '';
    return { node: `node of ${type}`, attributes: { opening: text(opening), answer }, exclusive };
  },
});

const refusing = (type: string, asks: boolean): Attestor => ({
  type,
  async attest(_, turn) {
    if (asks) await turn.challenge(new Uint8Array());
    throw new IdentityError('nonce_mismatch', `${type} says no`);
  },
});

const turnWith = async (challenge: Turn['challenge']): Promise<Turn> => ({
  now: () => new Date(0),
  key: await proven(),
  binding: new Uint8Array(32),
  peer: undefined,
  challenge,
});

/** An agent that answers each question with its upper case. */
const answering = (names: readonly string[]) =>
  vi.fn(async (question: Uint8Array) =>
    packPieces(unpackPieces(question, names).map((each) => each && utf8(text(each).toUpperCase()))),
  );

test('one platform alone speaks as itself', async () => {
  const challenge = vi.fn(async (question: Uint8Array) => question);
  const facts = await prove(
    [attestor('kubernetes/eu-1', { exclusive: true })],
    utf8('hi'),
    await turnWith(challenge),
  );
  expect(facts).toEqual({
    platform: 'kubernetes/eu-1',
    node: 'node of kubernetes/eu-1',
    attributes: { 'kubernetes.opening': 'hi', 'kubernetes.answer': 'kubernetes/eu-1?' },
    exclusive: [{ platform: 'kubernetes/eu-1', node: 'node of kubernetes/eu-1' }],
  });
});

describe('several platforms', () => {
  test('are asked in one question and proven under their own names', async () => {
    const names = ['aws-iam', 'tpm', 'unix'];
    const challenge = answering(names);
    const all = [
      attestor('aws-iam'),
      attestor('tpm', { exclusive: true }),
      attestor('unix', { asks: false }),
    ];
    const opening = packPieces([undefined, utf8('ek'), undefined]);
    const facts = await prove(all, opening, await turnWith(challenge));
    expect(challenge).toHaveBeenCalledTimes(1);
    expect(facts).toEqual({
      platform: 'aws-iam+tpm+unix',
      node: 'node of aws-iam+node of tpm+node of unix',
      attributes: {
        'aws_iam.opening': '',
        'aws_iam.answer': 'AWS-IAM?',
        'tpm.opening': 'ek',
        'tpm.answer': 'TPM?',
        'unix.opening': '',
        'unix.answer': '',
      },
      exclusive: [{ platform: 'tpm', node: 'node of tpm' }],
    });
  });

  test('that have no question at all ask none', async () => {
    const challenge = vi.fn();
    const silent = ['a', 'b'].map((type) => attestor(type, { asks: false }));
    const facts = await prove(silent, packPieces([undefined, undefined]), await turnWith(challenge));
    expect(facts.platform).toBe('a+b');
    expect(challenge).not.toHaveBeenCalled();
  });

  const names = ['a', 'b'];
  const nothing = packPieces([undefined, undefined]);
  test.each<[string, readonly Attestor[], Uint8Array, RegExp]>([
    ['one refuses before it asks', [refusing('a', false), attestor('b')], nothing, /^a says no$/],
    ['one refuses after the answer', [attestor('a'), refusing('b', true)], nothing, /^b says no$/],
    ['a silent one refuses', [attestor('a'), refusing('b', false)], nothing, /^b says no$/],
    [
      'there is an opening for one only',
      [attestor('a'), attestor('b')],
      packPieces([undefined]),
      /ends early/,
    ],
  ])('are refused together where %s', async (_, all, opening, says) => {
    const turn = await turnWith(answering(names));
    await expect(prove(all, opening, turn)).rejects.toThrow(says);
  });

  test.each([
    [
      'one answer is missing',
      packPieces([utf8('x'), undefined, undefined]),
      /^b was asked and says nothing$/,
    ],
    ['one answers unasked', packPieces([utf8('x'), utf8('y'), utf8('z')]), /^c was not asked$/],
    ['the answer is one platform’s', utf8('x'), /version/],
  ])('are refused where %s', async (_, answer, says) => {
    const all = [attestor('a'), attestor('b'), attestor('c', { asks: false })];
    const opening = packPieces([undefined, undefined, undefined]);
    const turn = await turnWith(async () => answer);
    await expect(prove(all, opening, turn)).rejects.toThrow(refusal('evidence_parse', says));
  });

  test('may each ask once', async () => {
    const twice: Attestor = {
      type: 'a',
      async attest(_, turn) {
        await Promise.all([turn.challenge(new Uint8Array()), turn.challenge(new Uint8Array())]);
        throw new Error('unreachable');
      },
    };
    const turn = await turnWith(answering(names));
    await expect(prove([twice, attestor('b')], nothing, turn)).rejects.toThrow(
      refusal('internal', /a asked twice/),
    );
  });
});
