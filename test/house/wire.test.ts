/** docs/wire.md against the code: every field, bound, template and example is what the code reads and writes. */
import { createHmac, hash } from 'node:crypto';
import { callerIdentityRequest } from '@chancery/shared/aws/caller-identity.ts';
import { ENDPOINTS, stsHost } from '@chancery/shared/aws/hosts.ts';
import { signPost } from '@chancery/shared/aws/sign.ts';
import { packStsQuestion, unpackStsAnswer, unpackStsQuestion } from '@chancery/shared/evidence/aws-iam.ts';
import { nonceOf, unpackAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { attestationBinding, audienceOf } from '@chancery/shared/evidence/binding.ts';
import { packPieces } from '@chancery/shared/evidence/pieces.ts';
import { unpackAnswer, unpackOpening, unpackQuestion } from '@chancery/shared/evidence/tpm.ts';
import { concat, hex, u8, u32 } from '@chancery/shared/ground/bytes.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { AK, EK_P256, EK_P384, EK_RSA_2048, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import { ROLE_MARK } from '@chancery/shared/x509/extensions.ts';
import { describe, expect, test } from 'vitest';
import { blocksOf, rowsUnder } from './markdown.ts';
import { paths, textOf } from './repository.ts';

const RECORD = 'shared/src/audit/call-record.ts';
const page = textOf('docs/wire.md');

const MESSAGES = [
  { heading: 'tpm opening', unpack: unpackOpening },
  { heading: 'tpm question', unpack: unpackQuestion },
  { heading: 'tpm answer', unpack: unpackAnswer },
  { heading: 'aws-iam question', unpack: unpackStsQuestion },
  { heading: 'aws-iam answer', unpack: unpackStsAnswer },
  { heading: 'azure answer', unpack: unpackAzureAnswer },
];

describe.each(MESSAGES)('$heading', ({ heading, unpack }) => {
  const rows = rowsUnder(page, heading);

  test('has as many fields as the page lists', () => {
    expect(rows.length).toBeGreaterThan(0);
    const empty = concat(u8(1), ...rows.map(() => u32(0)));
    expect(() => unpack(empty)).not.toThrow();
    expect(() => unpack(concat(empty, u32(0)))).toThrow(/4 trailing bytes/);
  });

  test.each(rows.map(([field, most], index) => ({ field, most: Number(most), index })))(
    'field $index is $field, of at most $most bytes',
    ({ field, most, index }) => {
      const before = concat(u8(1), ...Array.from({ length: index }, () => u32(0)));
      const full = concat(before, u32(most), new Uint8Array(most));
      const others = rows.slice(index + 1).map(() => u32(0));
      expect(() => unpack(concat(full, ...others))).not.toThrow();
      const says = `${field} is ${most + 1} bytes, at most ${most} are read`;
      expect(() => unpack(concat(before, u32(most + 1)))).toThrow(says);
    },
  );
});

describe('templates', () => {
  /** Groups of hexadecimal digits; words after them explain. */
  const bytesOf = (kind: string): string => {
    const text = blocksOf(page).find((block) => block.kind === kind)?.text ?? '';
    const groups = text
      .split(/[\n|]/)
      .flatMap((part) => /^ *((?:(?:[0-9a-f]{2})+(?: |$))+)/.exec(part)?.[1] ?? '');
    return groups.join('').replaceAll(' ', '');
  };

  test.each([
    ['text ak', AK, 4],
    ['text key', TPM_KEY, 4],
    ['text ek RSA-2048 (L-1): TPM2B of 256 zeros', EK_RSA_2048, 2 + 256],
    ['text ek P-256 (L-2): TPM2B of 32 zeros, twice', EK_P256, 2 * (2 + 32)],
    ['text ek P-384 (H-3): two empty TPM2B', EK_P384, 4],
  ])('%s', (kind, template, uniqueBytes) => {
    expect(bytesOf(kind)).toBe(hex(template.prefix));
    expect(template.unique.length).toBe(uniqueBytes);
  });

  test('an AK has the size that the page states', () => {
    expect(page).toContain(`The area has ${AK.prefix.length + 2 * (2 + 32)} bytes.`);
  });
});

/** Where each limit is written in the code; seconds, milliseconds or bytes. */
const LIMITS = [
  [
    'the first byte of a TLS connection, from when the kernel hands it over',
    'shared/src/door/first-byte.ts',
    'HANDSHAKE_MS',
    ' s',
    1000,
  ],
  ['TLS handshake, from its first byte', 'shared/src/door/first-byte.ts', 'HANDSHAKE_MS', ' s', 1000],
  ['time to `hello`', 'ca/src/rpc/exchange/hello.ts', 'HELLO_SECONDS', ' s', 1],
  ['time to `evidence`, and life of the nonce', 'ca/src/rpc/exchange/nonces.ts', 'NONCE_SECONDS', ' s', 1],
  ['an exchange at our agent, end to end', 'agent/src/svid/obtain.ts', 'EXCHANGE_MS', ' s', 1000],
  ['nonce', 'ca/src/rpc/exchange/nonces.ts', 'NONCE_BYTES', ' bytes', 1],
  ['`instance`', 'ca/src/rpc/exchange/hello.ts', 'INSTANCE_BYTES', ' bytes', 1],
  ['`csr`', 'shared/src/x509/csr.ts', 'MAX_BYTES', ' bytes', 1],
  ['`evidence` in `hello`', 'shared/src/evidence/pieces.ts', 'MAX_EVIDENCE_BYTES', ' bytes', 1],
  ['a gRPC message', 'ca/src/rpc/server.ts', 'MAX_MESSAGE_BYTES', ' bytes', 1],
  ['a message of `Attest` over TLS', 'ca/src/rpc/server.ts', 'OPENING_BYTES', ' bytes', 1],
  ['an `IssueX509` request', 'ca/src/rpc/server.ts', 'CSRS_BYTES', ' bytes', 1],
  ['any other request', 'ca/src/rpc/server.ts', 'OTHER_BYTES', ' bytes', 1],
  [
    'a message, from its first byte to its last',
    'shared/src/door/http2/streams.ts',
    'MESSAGE_MS',
    ' s',
    1000,
  ],
  ['a token (JWT)', 'ca/src/tokens/jwt.ts', 'MAX_TOKEN_BYTES', ' bytes', 1],
  ['CSRs in one `IssueX509`', 'ca/src/rpc/exchange/attestation.ts', 'MAX_CSRS', '', 1],
  [
    'valid certificates of one node by `IssueX509`',
    'ca/src/store/sqlite/holders/derived-certificates.ts',
    'MAX_PER_NODE',
    '',
    1,
  ],
  ['`Watch` streams of one node', 'ca/src/door/limits.ts', 'TRUST_STREAMS', '', 1],
  ['the same with certificates of `IssueX509`, in addition', 'ca/src/door/limits.ts', 'TRUST_STREAMS', '', 1],
  ['the same of one such certificate', 'ca/src/door/limits.ts', 'DERIVED_STREAMS', '', 1],
  ['`Report` streams of one node', 'ca/src/door/limits.ts', 'TRUST_STREAMS', '', 1],
  ['records in one message of `Report`', RECORD, 'MAX_BATCH_RECORDS', '', 1],
  ['bytes of the records in one message of `Report`', RECORD, 'MAX_BATCH_BYTES', ' bytes', 1],
  ['a record', RECORD, 'MAX_RECORD_BYTES', ' bytes', 1],
  ['open streams on one connection', 'ca/src/rpc/server.ts', 'MAX_STREAMS_PER_CONNECTION', '', 1],
  ['the same without a good certificate', 'ca/src/door/streams.ts', 'STRANGER_STREAMS', '', 1],
  ['request headers of a call', 'shared/src/door/http2/headers.ts', 'MAX_HEADER_BYTES', ' bytes', 1],
] as const;

function constantIn(path: string, name: string): number {
  const [, expression = ''] =
    new RegExp(`^(?:export )?const ${name} = ([\\d_ *]+);`, 'm').exec(textOf(path)) ?? [];
  return expression.split('*').reduce((product, factor) => product * Number(factor.replaceAll('_', '')), 1);
}

describe('limits', () => {
  const rows = rowsUnder(page, 'Deadlines and limits');

  test('each is tied to a constant', () => {
    expect(rows.map(([what]) => what)).toEqual(LIMITS.map(([what]) => what));
  });

  test.each(LIMITS)('%s is what %s has', (what, path, name, unit, divisor) => {
    const [, value] = rows.find(([first]) => first === what) ?? [];
    expect(value).toBe(`${constantIn(path, name) / divisor}${unit}`);
  });

  test('numbers in sentences', () => {
    expect(page).toContain(`one to ${constantIn('shared/src/evidence/platform.ts', 'MAX_PLATFORMS')} names`);
    const part = constantIn('shared/src/evidence/pieces.ts', 'MAX_EVIDENCE_BYTES');
    expect(page.replaceAll('\n', ' ')).toContain(`A field has at most ${part} bytes`);
    const claim = constantIn('ca/src/agents/agents.ts', 'CLAIM_SECONDS');
    expect(page).toContain(`for ${claim} s after a certificate`);
    const skew = constantIn('ca/src/attestors/aws/iam.ts', 'MAX_SKEW_SECONDS') / 60;
    expect(page).toContain(`at most ${skew} minutes from the CA's clock`);
    const life = constantIn('ca/src/attestors/aws/web-identity.ts', 'MAX_LIFETIME_SECONDS');
    expect(page).toContain(`at most ${life} are accepted`);
    expect(page).toContain(`\`${ROLE_MARK.ca}\` (id-kp-cmcCA`);
  });
});

describe('examples', () => {
  const domain = parseTrustDomain('test.example');
  const blockOf = (kind: string): string =>
    (blocksOf(page).find((block) => block.kind === kind)?.text ?? '').replace(/\n$/, '');
  const spki = Buffer.from(blockOf('text example spki'), 'hex');
  const binding = attestationBinding(domain, new Uint8Array(32).fill(1), spki);
  const scope = { service: 'sts', region: 'eu-west-1', date: '20261120T101112Z' };
  const host = stsHost(scope.region, 'standard') ?? '';
  const request = callerIdentityRequest({ host, date: scope.date, sessionToken: 'token', binding });
  const signature = signPost(request, scope, 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY');
  const said = (...parts: readonly (string | undefined)[]) =>
    hex(packPieces(parts.map((part) => (part === undefined ? undefined : Buffer.from(part)))));

  test('values', () => {
    expect(Object.fromEntries(rowsUnder(page, 'Examples').map(([what, value]) => [what, value]))).toEqual({
      'SHA-256 of the SubjectPublicKeyInfo': `\`${hash('sha256', spki)}\``,
      binding: `\`${hex(binding)}\``,
      'bound audience': `\`${audienceOf(domain, binding)}\``,
      'proof, for a secret of 32 bytes `02`': `\`${createHmac('sha256', Buffer.alloc(32, 2)).update(binding).digest('hex')}\``,
      'NONCE of azure': `\`${nonceOf(binding)}\``,
      'signature of aws-iam': `\`${hex(signature)}\``,
      'question of aws-iam, `standard`': `\`${hex(packStsQuestion('standard'))}\``,
      'PCR selection of 0 to 7': `\`${hex(writeSelection([0, 1, 2, 3, 4, 5, 6, 7]))}\``,
      'two platforms, an empty question for the first, none for the second': `\`${said('', undefined)}\``,
      'two platforms, nothing of the first, `ab` of the second': `\`${said(undefined, 'ab')}\``,
    });
  });

  test('the canonical request of aws-iam, its headers and its body', () => {
    const { headers, body } = request;
    const names = Object.keys(headers).toSorted();
    const lines = names.map((name) => `${name}:${headers[name]}`);
    const canonical = ['POST', '/', '', ...lines, '', names.join(';'), hash('sha256', body)].join('\n');
    expect(blockOf('text example canonical')).toBe(canonical);
    const rows = rowsUnder(page, 'The signed request').map(([name, value]) => [name, value]);
    expect(rows.map(([name]) => name)).toEqual(names.map((name) => `\`${name}\``));
    for (const name of ['accept', 'content-type'])
      expect(rows).toContainEqual([`\`${name}\``, `\`${headers[name]}\``]);
    expect(page).toContain(`The body is \`${body}\`, ${body.length} bytes`);
  });

  test('hosts of STS', () => {
    const rows = rowsUnder(page, 'The host of STS').map((row) => row.map((cell) => cell.replaceAll('`', '')));
    const regions = { 'us-gov-*': 'us-gov-west-1', 'cn-*': 'cn-north-1', 'eusc-de-*': 'eusc-de-east-1' };
    expect(rows.map(([which]) => which)).toEqual([...Object.keys(regions), 'others']);
    for (const [which = '', plain, dual] of rows) {
      const region = Object.entries(regions).find(([name]) => name === which)?.[1] ?? 'eu-west-1';
      for (const kind of ENDPOINTS) {
        const fips = kind.includes('fips') && !(region.startsWith('us-gov-') && kind === 'fips');
        const suffix = kind.includes('dual') ? dual : plain;
        expect(stsHost(region, kind)).toBe(`sts${fips ? '-fips' : ''}.${region}.${suffix}`);
      }
    }
    for (const kind of ENDPOINTS) expect(page).toContain(`\`${kind}\``);
  });
});

test('each proto names a Go package, and none points at TypeScript', () => {
  const protos = paths(/^proto\/.*\.proto$/);
  expect(protos.filter((path) => !/^option go_package = "[^"]+";$/m.test(textOf(path)))).toEqual([]);
  expect(protos.filter((path) => /\.ts\b/.test(textOf(path)))).toEqual([]);
});
