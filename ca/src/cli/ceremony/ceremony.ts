/** `ceremony`: an offline root, on a machine that needs no network, no config and no database. */
import { join, resolve } from 'node:path';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isKeyAlgorithm } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeRequestAbove } from '../../ceremony/above.ts';
import { ensureFree, readCarried, rootIn, signerIn, writeNew } from '../../ceremony/folder.ts';
import { ensureNoRoot, makeOfflineRoot } from '../../ceremony/make.ts';
import { writeCertificate } from '../../ceremony/root.ts';
import { type Facts, keepTranscript, transcriptOf } from '../../ceremony/transcript.ts';
import { answerFacts, exportFacts, initFacts, requestFacts } from './facts.ts';
import { signingOf } from './signing.ts';

export interface CeremonyDeps {
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

/** The flags of each form besides --dir and --json. */
const FORMS: Readonly<Record<string, readonly string[]>> = {
  init: ['trust-domain', 'algorithm', 'ttl', 'key-encryption-key', 'dry-run'],
  sign: ['output', 'ttl', 'key-encryption-key', 'yes', 'dry-run'],
  export: ['output'],
  request: ['output', 'key-encryption-key', 'dry-run'],
};
const WORDS = Object.keys(FORMS);
const ROOT_TTL = '3650d';
const INTERMEDIATE_TTL = '90d';
const MIN_TTL_SECONDS = 3600;

/** Each form leaves a transcript in the folder. */
export const ceremony = (deps: CeremonyDeps): Command => ({
  says:
    'An offline root, on a machine without a network: `init` makes it, `sign` signs what a CA asks for, `export` ' +
    'prints the certificate, `request` makes the request of the root to a CA above. Each writes a transcript to print.',
  positionals: 'init | sign REQUEST | export | request',
  words: WORDS,
  flags: {
    dir: {
      type: 'string',
      short: 'd',
      value: 'DIR',
      says: 'The folder of the root, for instance on an encrypted medium (default: the current one).',
    },
    'key-encryption-key': {
      type: 'string',
      value: 'FILE',
      says: 'Encrypts the key of the root; made by init if it is missing (default: DIR/key-encryption-key).',
    },
    'trust-domain': { type: 'string', value: 'NAME', says: 'init: the trust domain of the root; required.' },
    algorithm: {
      type: 'string',
      value: 'ALGORITHM',
      says: 'init: ecdsa-p256 or ecdsa-p384, of the key of the root (default: ecdsa-p384).',
    },
    ttl: {
      type: 'string',
      value: 'DURATION',
      says: `The lifetime: of the root (default: ${ROOT_TTL}), of what is signed (default: ${INTERMEDIATE_TTL}).`,
    },
    output: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      says:
        'sign: the answer, for chancery-ca authorities import; required. export: the certificate. request: the ' +
        'request to a CA above; required.',
    },
    yes: { type: 'boolean', says: 'sign: sign. Without this flag it says what it would sign, and fails.' },
    'dry-run': { type: 'boolean', says: 'init, sign, request: only say what would be done.' },
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const { form, request } = formOf(invocation);
    if (form === 'init') return init(invocation, io, deps);
    if (form === 'request') return askAbove(invocation, io, deps);
    if (request !== undefined) return sign(request, invocation, io, deps);
    return exported(invocation, io, deps);
  },
});

/** Throws MisuseError for words that are none, and for a flag of another form. */
function formOf(invocation: Invocation): { form: string; request: string | undefined } {
  const [form = '', request, ...more] = invocation.positionals;
  const own = Object.hasOwn(FORMS, form) ? FORMS[form] : undefined;
  if (own === undefined || more.length > 0 || (form === 'sign') !== (request !== undefined))
    throw new MisuseError(`give init, sign REQUEST, export or request${meant(form, WORDS)}`);
  for (const flag of new Set(Object.values(FORMS).flat()))
    if (!own.includes(flag) && (invocation.has(flag) || invocation.text(flag) !== undefined))
      throw new MisuseError(`--${flag} is no flag of \`ceremony ${form}\``);
  return { form, request };
}

function atOf(invocation: Invocation) {
  const dir = resolve(invocation.text('dir') ?? '.');
  const named = invocation.text('key-encryption-key');
  return { dir, keyEncryptionKey: named === undefined ? join(dir, 'key-encryption-key') : resolve(named) };
}

function ttlOf(invocation: Invocation, fallback: string): number {
  const given = invocation.text('ttl') ?? fallback;
  const seconds = parseDuration(given);
  if (seconds < MIN_TTL_SECONDS) throw new MisuseError(`--ttl ${given}: at least 1h is expected`);
  return seconds;
}

async function init(invocation: Invocation, io: Io, { clock, random }: CeremonyDeps): Promise<ExitStatus> {
  const name = invocation.text('trust-domain');
  if (name === undefined) throw new MisuseError('--trust-domain is required, for instance prod.example');
  const trustDomain = parseTrustDomain(name);
  const algorithm = invocation.text('algorithm') ?? 'ecdsa-p384';
  if (!isKeyAlgorithm(algorithm)) throw new MisuseError('--algorithm is ecdsa-p256 or ecdsa-p384');
  const [at, ttlSeconds, now] = [atOf(invocation), ttlOf(invocation, ROOT_TTL), clock.now()];
  if (invocation.has('dry-run')) {
    ensureNoRoot(at);
    const until = new Date(now.getTime() + ttlSeconds * 1000);
    const facts: Facts = [
      ['trust domain', trustDomain],
      ['algorithm', algorithm],
      ['time (this machine)', now.toISOString()],
      ['not after', until.toISOString()],
    ];
    return say({ title: 'init', facts, ending: 'nothing was changed (dry run)' }, invocation, io);
  }
  const root = await makeOfflineRoot({ ...at, trustDomain, algorithm, ttlSeconds, now, random });
  const facts = initFacts(root, { ...at, now });
  const transcript = keepTranscript(at.dir, { name: 'init', now }, transcriptOf('init', facts));
  const ending = `transcript: ${transcript}\nnext:  chancery-ca ceremony export --dir ${at.dir} -o root.pem`;
  return say({ title: 'init', facts, transcript, ending }, invocation, io);
}

async function sign(
  path: string,
  invocation: Invocation,
  io: Io,
  { clock, random }: CeremonyDeps,
): Promise<ExitStatus> {
  const output = invocation.text('output');
  if (output === undefined) throw new MisuseError('-o FILE is required: the answer is written to it');
  ensureFree(resolve(output));
  const [at, ttlSeconds, now] = [atOf(invocation), ttlOf(invocation, INTERMEDIATE_TTL), clock.now()];
  const [root, request] = [rootIn(at.dir), readCarried(path)];
  const signing = signingOf({ ...at, root, request, ttlSeconds, now, random }, path);
  const asked = signing.facts;
  const wantsDryRun = invocation.has('dry-run');
  if (wantsDryRun || !invocation.has('yes')) {
    const ending = wantsDryRun ? 'nothing was changed (dry run)' : '';
    say({ title: 'sign', facts: signing.looked ?? asked, ending }, invocation, io);
    const says = 'nothing was signed: compare this with who asks, then sign with --yes';
    ensure(wantsDryRun, 'authority_request', says);
    return 0;
  }
  const answer = await signing.sign(signerIn(at, root));
  const facts = [...asked, ...answerFacts(answer, output)];
  const { name } = signing;
  writeNew(resolve(output), answer);
  const transcript = keepTranscript(at.dir, { name, now }, transcriptOf('sign', facts));
  const ending = `transcript: ${transcript}\nnext:  on the CA, chancery-ca authorities import ${output}`;
  return say({ title: 'sign', facts, transcript, ending }, invocation, io);
}

/** The request to a CA above: the root's key signs it, and it says what the root's certificate says. */
async function askAbove(invocation: Invocation, io: Io, { clock }: CeremonyDeps): Promise<ExitStatus> {
  const output = invocation.text('output');
  if (output === undefined) throw new MisuseError('-o FILE is required: the request is written to it');
  ensureFree(resolve(output));
  const [at, now] = [atOf(invocation), clock.now()];
  const root = rootIn(at.dir);
  const isDry = invocation.has('dry-run');
  const pem = isDry ? undefined : await writeRequestAbove(signerIn(at, root), root);
  const facts = requestFacts(root, { pem, output, now });
  if (pem === undefined)
    return say({ title: 'request', facts, ending: 'nothing was changed (dry run)' }, invocation, io);
  writeNew(resolve(output), pem);
  const name = 'request-above';
  const transcript = keepTranscript(at.dir, { name, now }, transcriptOf('request', facts));
  const next = 'the CA above signs it; on the CA, chancery-ca authorities import CHAIN --root ROOT';
  const ending = `transcript: ${transcript}\nnext:  ${next}`;
  return say({ title: 'request', facts, transcript, ending }, invocation, io);
}

async function exported(invocation: Invocation, io: Io, { clock }: CeremonyDeps): Promise<ExitStatus> {
  const { dir } = atOf(invocation);
  const [root, now, output] = [rootIn(dir), clock.now(), invocation.text('output')];
  if (output !== undefined) ensureFree(resolve(output));
  const pem = writeCertificate(root.certificate.der);
  const facts = exportFacts(root, { pem, output, now });
  const transcript = keepTranscript(dir, { name: 'export', now }, transcriptOf('export', facts));
  if (output === undefined && !invocation.has('json')) {
    io.out(pem);
    io.err(`transcript: ${transcript}\n`);
    return 0;
  }
  if (output !== undefined) writeNew(resolve(output), pem);
  const ending = `transcript: ${transcript}\nnext:  chancery-ca init --root ${output}`;
  return say({ title: 'export', facts, transcript, ending }, invocation, io);
}

interface Said {
  readonly title: string;
  readonly facts: Facts;
  readonly transcript?: string;
  readonly ending: string;
}

function say({ title, facts, transcript, ending }: Said, invocation: Invocation, io: Io): ExitStatus {
  const named = facts.map(([label, value]) => [keyOf(label), value] as const);
  if (invocation.has('json'))
    io.out(
      `${JSON.stringify({ ceremony: title, ...Object.fromEntries(named), transcript: transcript ?? null }, null, 2)}\n`,
    );
  else io.out(`${facts.map(([label, value]) => `${label.padEnd(26)}${value}`).join('\n')}\n\n${ending}\n`);
  return 0;
}

/** `root SHA-256` is `rootSha256`. */
const keyOf = (label: string): string =>
  label
    .toLowerCase()
    .replace(/sha-256/, 'sha256')
    .replace(/\(.*\)/, '')
    .trim()
    .replace(/ (.)/g, (_, letter: string) => letter.toUpperCase());
