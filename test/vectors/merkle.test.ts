/** transparency-dev/merkle's own vectors: inclusion and consistency proofs, good and spoiled. merkle.json names source and licence. */
import fs from 'node:fs';
import { verifyConsistency, verifyInclusion } from '@chancery/shared/tlog/proof.ts';
import { expect, test } from 'vitest';

interface Vector {
  readonly name: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

interface Inclusion extends Vector {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string;
  readonly leafHash: string;
}

interface Consistency extends Vector {
  readonly size1: number;
  readonly size2: number;
  readonly root1: string;
  readonly root2: string;
}

const { inclusion, consistency } = JSON.parse(
  fs.readFileSync(new URL('merkle.json', import.meta.url), 'utf8'),
) as { readonly inclusion: readonly Inclusion[]; readonly consistency: readonly Consistency[] };

const bytes = (text: string | null): Uint8Array => Buffer.from(text ?? '', 'base64');
const proofOf = ({ proof }: Vector) => (proof ?? []).map(bytes);

function judge({ wantErr }: Vector, verify: () => void): void {
  if (wantErr) expect(verify).toThrow(expect.objectContaining({ code: 'tlog' }));
  else verify();
}

test('all vectors are here', () => {
  expect([inclusion.length, consistency.length]).toEqual([98, 98]);
  const good = [...inclusion, ...consistency].filter(({ wantErr }) => !wantErr);
  expect(good.length).toBeGreaterThan(10);
});

test.each(inclusion)('$name', (vector) => {
  const { leafIdx: index, treeSize: size } = vector;
  const [leaf, root, proof] = [bytes(vector.leafHash), bytes(vector.root), proofOf(vector)];
  judge(vector, () => verifyInclusion({ index, size, leaf, root, proof }));
});

/** These say of 12 bytes that they are roots: we take no root that is not a hash. */
const NO_HASHES = new Set([
  'consistency/additional/sizes-are-equal-one-and-proof-is-empty',
  'consistency/additional/sizes-are-equal-zero-and-proof-is-empty',
]);

test.each(consistency)('$name', (vector) => {
  const { size1, size2, name } = vector;
  const [root1, root2, proof] = [bytes(vector.root1), bytes(vector.root2), proofOf(vector)];
  if (NO_HASHES.has(name)) {
    expect(() => verifyConsistency({ size1, root1, size2, root2, proof })).toThrow(/a hash has 32/);
    return;
  }
  judge(vector, () => verifyConsistency({ size1, root1, size2, root2, proof }));
});
