/** Names of files and sentences say what is meant; the words below do not. Style, section 6. */
import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { paths, textOf } from './repository.ts';

const EMPTY_WORDS = /(^|-)(util|utils|helper|helpers|common|misc|base|manager)(-|\.|$)/;

test('no file or folder is named by a word that says nothing', () => {
  const found = paths(/\.(ts|mjs|md|proto)$/).filter((path) =>
    path.split(posix.sep).some((part) => EMPTY_WORDS.test(part)),
  );
  expect(found).toEqual([]);
});

/** What not to write, and what to write. */
const RIDDLES: readonly (readonly [RegExp, string])[] = [
  [/nobody that is/i, 'the certificate chain does not end at a trusted root'],
  [/no unexpired certificate and no connected agent is/i, 'no certificate with this serial was issued'],
  [/whom to trust|must come from you/i, 'set `bundle` or `pin`, so that the agent can verify the CA'],
  [/the kernel['’]s word/i, 'peer credentials'],
  [/(is|are|or) told and left/i, 'rejects it and logs why'],
  [/of whoever|nothing goes on/i, 'ends all sessions of a revoked caller'],
  [/\b(decided|judged|looked at|refused|counted|answered) a call\b/i, 'on every call'],
  [/answers nobody/i, 'rejects every write of its batch'],
  [/none of the known|none of them would do/i, 'no supported platform found'],
  [/nothing that was answered/i, 'no space left on its disk. Free some'],
  [/what is known (stays|goes)/i, 'the last bundle and policy stay in force'],
  [/is of no use|are of no use/i, 'cannot be used'],
  [/none that can|what no (name|header value) may/i, 'is too large; has characters that it must not have'],
  [/(says|said) nothing before it (is|was) asked|speaks only when/i, 'the first message must be empty'],
  [/\bis no (time|UUID|object|region|JSON|number|string|list|name|file|URL|certificate|key)\b/, 'is not a'],
  [/\bwhoever\b/i, 'names the party: the caller, a peer, a gateway'],
  [/\bbut for\b/, 'except'],
  [/\bupon which\b/, 'then'],
  [/\b(is|are|was|were|has) told of\b|\bhears? of nothing\b/, 'is notified, is not informed'],
  [/\bwhat is no [a-z]+/, 'what is not a serial'],
  [/\b(by|of|to) whose\b|\bof whom\b/i, 'the certificate that holds it'],
  [
    /\bone (agent|call|cell|entry|event|file|interface|issuer|line|message|process|sentence) an? [a-z]+/i,
    'one line for each file',
  ],
  [/\b(undefined|empty|true|false) where\b/i, 'undefined if'],
  [/\bthe way to count it\b/, 'the returned function counts it as closed'],
  [/\b(where|when) (it|that|this) is missing\b/i, 'default: all'],
  [/\b(can|cannot|could not) be had\b/i, 'cannot be fetched, is not available'],
  [/\b(is|are|was|were) (no longer )?let in\b/i, 'is allowed, may join'],
  [/\bletter for letter\b|\bto the letter\b/i, 'exactly'],
  [/\bas RFC \d+ has (it|them)\b|\bas (X\.690|§[\d.]+) has (it|them)\b/i, 'by RFC 7515'],
  [/['’]s business\b|\bsomebody else['’]s (question|stack|opinion)\b/i, 'replay.ts verifies it'],
  [/\bknow(s|ing)? nothing of\b/i, 'does not use, does not depend on'],
  [/\d+ s for clocks\b/i, '30 s of tolerance'],
  [/Invalid input|expected \w+, received/, 'a string is expected, found a number'],
];

/** A sentence goes on over the end of a line, in a comment too. */
const GAP = String.raw`(?: |\s*\n\s*(?:\*|//)?\s*)`;
const WRAPPED = RIDDLES.map(
  ([words, better]) => [new RegExp(words.source.replaceAll(' ', GAP), `g${words.flags}`), better] as const,
);

const riddlesIn = (text: string): readonly string[] =>
  WRAPPED.flatMap(([words, better]) =>
    [...text.matchAll(words)].map(({ 0: found, index }) => {
      const line = text.slice(0, index).split('\n').length;
      return `${line}: ${found.replaceAll(/\s+/g, ' ')} (write for instance: ${better})`;
    }),
  );

test('no sentence is a riddle or an inversion', () => {
  const found = paths(/\.(ts|mjs|md|proto)$/)
    .filter((path) => !path.endsWith('words.test.ts') && path !== 'test/vectors/README.md')
    .flatMap((path) => riddlesIn(textOf(path)).map((riddle) => `${path}:${riddle}`));
  expect(found).toEqual([]);
});

test.each(['the\nkernel’s word', '/** the\n * kernel’s word */', '// the\n  // kernel’s word'])(
  'a riddle over two lines is found: %j',
  (text) => {
    expect(riddlesIn(text)).toHaveLength(1);
  },
);
