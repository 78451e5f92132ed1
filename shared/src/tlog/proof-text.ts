/** C2SP tlog-proof: a checkpoint, and the proof that its tree has an entry, as one text. */
import { base64, utf8, utf8Text } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { leafHash } from './hash.ts';
import type { NoteKey } from './note.ts';
import { verifyInclusion } from './proof.ts';

const BEGINS = 'c2sp.org/tlog-proof@v1';
/** A tree of 2 ** 53 entries has fewer. */
const MAX_HASHES = 64;

export interface EntryProof {
  /** What nobody signs: ours has the entry. Empty if there is none. */
  readonly extra: Uint8Array;
  /** Of the entry, from 0. */
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
  /** The signed note. */
  readonly checkpoint: string;
}

/** The text ends with the checkpoint. */
export function writeProof({ extra, index, hashes, checkpoint }: EntryProof): string {
  const before = extra.length > 0 ? [BEGINS, `extra ${base64(extra)}`] : [BEGINS];
  return `${[...before, `index ${index}`, ...hashes.map(base64)].join('\n')}\n\n${checkpoint}`;
}

/** Throws tlog. */
export function readProof(bytes: Uint8Array): EntryProof {
  const text = utf8Text(bytes, 'tlog', 'the proof');
  const [, encodedExtra = '', index = '', lines = '', checkpoint = ''] =
    /^c2sp\.org\/tlog-proof@v1\n(?:extra ([^\n]*)\n)?index (0|[1-9]\d{0,15})\n((?:[^\n]+\n)*)\n([\s\S]+)$/.exec(
      text,
    ) ?? [];
  ensure(checkpoint !== '', 'tlog', `this is not a proof: ${BEGINS} is expected`);
  const encoded = lines.split('\n').slice(0, -1);
  ensure(
    encoded.length <= MAX_HASHES,
    'tlog',
    `the proof has ${encoded.length} hashes, at most ${MAX_HASHES}`,
  );
  const hashes = encoded.map((line) => Buffer.from(line, 'base64'));
  ensure(
    hashes.every((each, at) => base64(each) === encoded[at]),
    'tlog',
    'a hash of the proof is not base64',
  );
  const extra = Buffer.from(encodedExtra, 'base64');
  ensure(base64(extra) === encodedExtra, 'tlog', 'the line `extra` of the proof is not base64');
  return { extra, index: Number(index), hashes, checkpoint };
}

/** The checkpoint, if this key has signed it and its tree has the entry at the index of the proof. Throws tlog. */
export function verifyProof(
  { index, hashes, checkpoint }: EntryProof,
  entry: Uint8Array,
  key: NoteKey,
): Checkpoint {
  const opened = openCheckpoint(utf8(checkpoint), key);
  verifyInclusion({ index, ...opened, leaf: leafHash(entry), proof: hashes });
  return opened;
}
