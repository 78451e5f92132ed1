import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { tileLog } from '../../../test/kit/tlog.ts';
import { openCheckpoint, signCheckpoint } from './checkpoint.ts';
import { noteKey, openNote, readVerifierKey, signNote, writeVerifierKey } from './note.ts';
import { readProof, verifyProof, writeProof } from './proof-text.ts';
import { proveInclusion } from './prove.ts';
import { tilePath } from './tile.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = noteKey('prod.example/chancery/log', publicKey);
const stranger = generateKeyPairSync('ed25519');
const other = noteKey('other.example/log', stranger.publicKey);
const bytes = (text: string) => Buffer.from(text);
const root = Buffer.alloc(32, 7);

/** Of the documentation of golang.org/x/mod/sumdb/note. */
const GO_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const GO_NOTE = `If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`;

test('a note that another implementation signed is opened, and a byte of it changed is not', () => {
  const peter = readVerifierKey(GO_KEY);
  expect(openNote(bytes(GO_NOTE), peter)).toMatch(/^If you think[\s\S]*problem is\.\n$/);
  expect(writeVerifierKey(peter)).toBe(GO_KEY);
  const spoiled = GO_NOTE.replace('think', 'thimk');
  expect(() => openNote(bytes(spoiled), peter)).toThrow(refusal('tlog', /does not verify/));
});

test.each([
  ['', /NAME\+8 hex/],
  ['a+00000000+', /NAME\+8 hex/],
  [GO_KEY.replace('c74f', 'c74e'), /make another/],
  [GO_KEY.replace('Peter', 'Paul'), /make another/],
  [GO_KEY.replace('+ARpc', '+AhpC'), /not of type Ed25519/],
  [`${GO_KEY}=`, /not base64/],
])('verifier key %j is refused', (text, says) => {
  expect(() => readVerifierKey(text)).toThrow(refusal('tlog', says));
});

test('the key and a checkpoint are what they were after writing and reading', () => {
  expect(readVerifierKey(writeVerifierKey(key))).toMatchObject({ name: key.name, id: key.id });
  const note = signCheckpoint({ size: 5, root }, key, privateKey);
  expect(openCheckpoint(bytes(note), key)).toEqual({ size: 5, root });
  expect(signCheckpoint({ size: 5, root }, key, privateKey)).toBe(note);
});

test('signatures of others are ignored, before and after ours; without ours the note is refused', () => {
  const note = signCheckpoint({ size: 5, root }, key, privateKey);
  const theirs = signNote(note.slice(0, note.indexOf('\n\n') + 1), other, stranger.privateKey);
  const [head = '', line = ''] = theirs.split('\n\n');
  expect(openCheckpoint(bytes(`${note}${line}`), key).size).toBe(5);
  expect(openCheckpoint(bytes(`${head}\n\n${line}${note.split('\n\n')[1]}`), key).size).toBe(5);
  expect(() => openCheckpoint(bytes(theirs), key)).toThrow(refusal('tlog', /not signed by prod\.example/));
  const sameName = noteKey(key.name, stranger.publicKey);
  expect(() => openCheckpoint(bytes(note), sameName)).toThrow(refusal('tlog', /not signed by/));
});

const textOf = (lines: string) => signNote(lines, key, privateKey);
test.each([
  ['no empty line', bytes('a\nb\n'), /no empty line/],
  ['no signature', bytes(`${key.name}\n5\n${root.toString('base64')}\n\n`), /does not end|not a signature/],
  ['not UTF-8', Buffer.of(0xff, 10, 10), /not UTF-8/],
  ['a control character', bytes(textOf(`${key.name}\n5\nx\n`).replace('5', '5\r')), /not a signed note/],
  ['a signature line without a name', bytes('a\n\n\u2014  AAAA\n'), /not a signature/],
  ['a signature that is not base64', bytes('a\n\n\u2014 b A-A=\n'), /not base64/],
  ['no line feed at the end', bytes(textOf('a\n').slice(0, -1)), /does not end with a line feed/],
  ['too long', Buffer.alloc(1024 * 1024 + 1, 10), /at most 1048576/],
  ['another origin', bytes(textOf(`other\n5\n${root.toString('base64')}\n`)), /is of other/],
  [
    'a size with a zero in front',
    bytes(textOf(`${key.name}\n05\n${root.toString('base64')}\n`)),
    /second line/,
  ],
  [
    'a size beyond what is counted',
    bytes(textOf(`${key.name}\n9007199254740993\n${root.toString('base64')}\n`)),
    /second line/,
  ],
  ['a root that is not base64', bytes(textOf(`${key.name}\n5\n?\n`)), /third line/],
  ['a short root', bytes(textOf(`${key.name}\n5\nAAAA\n`)), /has 3 bytes/],
  [
    'an empty extension line',
    bytes(textOf(`${key.name}\n5\n${root.toString('base64')}\n\nx\n`)),
    /a line is empty/,
  ],
])('a checkpoint with %s is refused', (_, note, says) => {
  expect(() => openCheckpoint(note, key)).toThrow(refusal('tlog', says));
});

test('extension lines are read over', () => {
  const note = textOf(`${key.name}\n5\n${root.toString('base64')}\nmore\n`);
  expect(openCheckpoint(bytes(note), key)).toEqual({ size: 5, root });
});

test.each(['', 'a b', 'a+b', 'a\nb', 'a\u00a0b'])('a key cannot have the name %j', (name) => {
  expect(() => noteKey(name, publicKey)).toThrow(refusal('tlog', /no spaces/));
});

test('a key that is not Ed25519 makes no notes', () => {
  const { publicKey: p256 } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(() => noteKey('a', p256)).toThrow(refusal('tlog', /Ed25519/));
});

test('a proof as text is read as it was written, and holds for its entry alone', async () => {
  const entries = ['a', 'b', 'c', 'd', 'e'].map(bytes);
  const log = tileLog(entries);
  const checkpoint = signCheckpoint({ size: 5, root: log.root }, key, privateKey);
  const read = async (name: Parameters<typeof tilePath>[0]) => log.files.get(tilePath(name)) ?? bytes('');
  const hashes = await proveInclusion(3, { size: 5, read });
  const extra = bytes('d');
  const text = writeProof({ extra, index: 3, hashes, checkpoint });
  const proof = readProof(bytes(text));
  expect(proof).toEqual({ extra, index: 3, hashes, checkpoint });
  const bare = writeProof({ ...proof, extra: bytes('') });
  expect(readProof(bytes(bare))).toEqual({ ...proof, extra: bytes('') });
  expect(() => readProof(bytes(text.replace('extra ', 'extra -')))).toThrow(refusal('tlog', /extra/));
  expect(verifyProof(proof, bytes('d'), key).size).toBe(5);
  expect(() => verifyProof(proof, bytes('c'), key)).toThrow(refusal('tlog', /does not lead from entry 3/));
  expect(() => verifyProof({ ...proof, index: 2 }, bytes('d'), key)).toThrow(
    refusal('tlog', /does not lead/),
  );
  for (const spoiled of [text.replace('@v1', '@v2'), text.replace('index 3', 'index 03'), text.slice(0, 40)])
    expect(() => readProof(bytes(spoiled))).toThrow(refusal('tlog', /not a proof/));
  expect(() => readProof(bytes(text.replace(/index 3\n./, 'index 3\n-')))).toThrow(
    refusal('tlog', /not base64/),
  );
});
