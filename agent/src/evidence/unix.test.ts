import { expect, test } from 'vitest';
import { answerOf, place } from '../../../test/kit/evidence/place.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { unixEvidence, unixEvidenceKind } from './unix.ts';

test('says nothing, and refuses a CA that asks: the kernel names the caller', async () => {
  const exchange = await unixEvidence().begin(new Uint8Array(), AbortSignal.timeout(5_000));
  expect(exchange.opening).toEqual(new Uint8Array());
  await expect(answerOf(unixEvidence())).rejects.toEqual(refusal('out_of_order', /has no question/));
});

test('is never found by looking: only a config says where the socket is', async () => {
  const found = await unixEvidenceKind.detect(place().deps, AbortSignal.timeout(5_000));
  expect(found).toEqual({ usable: false, says: expect.stringMatching(/only where the config asks for it$/) });
});
