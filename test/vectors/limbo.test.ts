/**
 * x509-limbo: path validation cases that other implementations run as well. Each one agrees or is listed with its
 * reason; a listed one must disagree, so that the list cannot hide what works.
 */
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import { readPem } from '@chancery/shared/der/pem.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { EKU } from '@chancery/shared/x509/extensions.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { SKIPPED } from './limbo-skipped.ts';
import { vectorsOrSkip } from './vectors.ts';

const SOURCE = { folder: 'x509-limbo', from: 'https://github.com/C2SP/x509-limbo at commit 8a2e6f41 (limbo.json)' };
/** Cases that do not say when are valid for years around this moment. */
const SOME_TIME = '2026-06-01T00:00:00Z';

const Limbo = z.object({
  testcases: z.array(
    z.object({
      id: z.string(),
      trusted_certs: z.array(z.string()),
      untrusted_intermediates: z.array(z.string()),
      peer_certificate: z.string(),
      validation_time: z.string().nullable(),
      extended_key_usage: z.array(z.enum(['serverAuth', 'clientAuth'])),
      max_chain_depth: z.number().nullable(),
      expected_result: z.enum(['SUCCESS', 'FAILURE']),
    }),
  ),
});
type Case = z.infer<typeof Limbo>['testcases'][number];

const read = (folder: string): readonly Case[] =>
  Limbo.parse(JSON.parse(fs.readFileSync(join(folder, 'limbo.json'), 'utf8'))).testcases;
const skipped = SKIPPED.flatMap(({ cases }) => cases);

function certificates(pems: readonly string[]) {
  return pems.flatMap((pem) => readPem(pem, 'CERTIFICATE', 'certificate_parse')).map(parseCertificate);
}

function answer(vector: Case): { result: Case['expected_result']; reason: string } {
  const [purpose] = vector.extended_key_usage;
  try {
    const [leaf] = certificates([vector.peer_certificate]);
    if (leaf === undefined) throw new Error('no peer certificate');
    verifyPath({
      leaf,
      intermediates: certificates(vector.untrusted_intermediates),
      anchors: certificates(vector.trusted_certs),
      now: new Date(vector.validation_time ?? SOME_TIME),
      ...(purpose && { eku: EKU[purpose] }),
      ...(vector.max_chain_depth !== null && { maxIntermediates: vector.max_chain_depth }),
    });
    return { result: 'SUCCESS', reason: '' };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { result: 'FAILURE', reason: `${error.code}: ${error.message}` };
  }
}

test('every case of limbo agrees, except the listed ones', (context) => {
  const cases = read(vectorsOrSkip(SOURCE, context));
  const disagree = cases
    .map((vector) => ({ id: vector.id, expected: vector.expected_result, ...answer(vector) }))
    .filter(({ expected, result }) => expected !== result);
  expect(disagree.filter(({ id }) => !skipped.includes(id))).toEqual([]);
  expect(disagree.map(({ id }) => id).sort()).toEqual([...skipped].sort());
  expect(cases.length).toBeGreaterThanOrEqual(207);
});

test('docs/x509-limbo.md is up to date', async (context) => {
  const cases = read(vectorsOrSkip(SOURCE, context));
  const page = resolve(import.meta.dirname, '../../docs/x509-limbo.md');
  await expect(pageOf(cases.length)).toMatchFileSnapshot(page);
});

function pageOf(count: number): string {
  const agree = count - skipped.length;
  const groups = SKIPPED.map(({ why, cases }) => [why, '', ...cases.map((id) => `- \`${id}\``), ''].join('\n'));
  return [
    '# Path validation against x509-limbo',
    '',
    '<!-- Made by test/vectors/limbo.test.ts; renew it with `vitest run test/vectors/limbo.test.ts -u`. -->',
    '',
    `Chancery validates certificate paths itself (\`shared/src/x509/verify/path.ts\`). Of the ${count} cases of`,
    '[x509-limbo](https://github.com/C2SP/x509-limbo) at commit 8a2e6f41 (without BetterTLS) it answers',
    `${agree} as limbo expects. The other ${skipped.length} are answered otherwise on purpose:`,
    '',
    ...groups,
  ].join('\n');
}
