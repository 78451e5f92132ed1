/** A root on a machine without a network: the commands, their files, and openssl as the judge of both. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAuthorityRequest } from '@chancery/ca/ceremony/request.ts';
import { readCross } from '@chancery/ca/cross/file.ts';
import { readPem } from '@chancery/shared/der/pem.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyCross } from '@chancery/shared/x509/verify/cross.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeOpensslCa } from '../kit/ca/openssl-ca.ts';
import { CA_MAIN, makeFolder, type Ran, removeFolder, runProgram } from '../kit/processes.ts';

const TRUST_DOMAIN = 'ceremony.example';
const folder = makeFolder();
const dir = join(folder, 'offline');
const at = (name: string): string => join(folder, name);
afterAll(() => removeFolder(folder));

const ceremony = (...args: string[]): Promise<Ran> =>
  runProgram(CA_MAIN, ['ceremony', ...args, '--dir', dir]);
const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8' });

beforeAll(async () => {
  const label = 'cd'.repeat(20);
  const wish = { kind: 'intermediate', trustDomain: parseTrustDomain(TRUST_DOMAIN), label } as const;
  writeFileSync(at('request.pem'), await writeAuthorityRequest(signerOf(generateKey()), wish));
});

test('a root is made once, with a transcript that has what openssl sees', async () => {
  const dry = await ceremony('init', '--trust-domain', TRUST_DOMAIN, '--dry-run');
  expect(dry).toMatchObject({ status: 0, stderr: '' });
  expect(existsSync(dir)).toBe(false);
  const made = await ceremony('init', '--trust-domain', TRUST_DOMAIN, '--json');
  expect(made).toMatchObject({ status: 0, stderr: '' });
  const { rootSha256, transcript } = JSON.parse(made.stdout);
  const seen = openssl('x509', '-in', join(dir, 'root.pem'), '-noout', '-fingerprint', '-sha256');
  expect(seen.trim()).toBe(`sha256 Fingerprint=${rootSha256}`);
  expect(readFileSync(transcript, 'utf8')).toContain(rootSha256);
  const again = await ceremony('init', '--trust-domain', TRUST_DOMAIN);
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('is there already') });
});

test('a request is shown, signed with --yes and once, and openssl verifies the answer', async () => {
  const [request, answer] = [at('request.pem'), at('answer.pem')];
  expect(openssl('req', '-in', request, '-noout', '-verify', '-text')).toMatch(/CA:TRUE, pathlen:0/);
  const asked = await ceremony('sign', request, '-o', answer);
  expect(asked).toMatchObject({ status: 1, stderr: expect.stringContaining('--yes') });
  expect(asked.stdout).toMatch(/lifetime +90 days/);
  expect(await ceremony('sign', request, '-o', answer, '--dry-run')).toMatchObject({ status: 0 });
  expect([existsSync(answer), readdirSync(dir).includes('issued')]).toEqual([false, false]);
  // A file that is there: nothing is signed, so that the next try signs.
  for (const flag of ['--dry-run', '--yes'])
    expect(await ceremony('sign', request, '-o', request, flag)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('request.pem is there already'),
    });
  expect(readdirSync(dir).includes('issued')).toBe(false);
  expect(readdirSync(join(dir, 'transcripts')).filter((name) => name.includes('-sign-'))).toEqual([]);
  const signed = await ceremony('sign', request, '-o', answer, '--ttl', '60d', '--yes');
  expect(signed).toMatchObject({ status: 0, stderr: '' });
  expect(openssl('verify', '-x509_strict', '-CAfile', join(dir, 'root.pem'), answer)).toMatch(/OK/);
  const [, sha256 = ''] = /answer SHA-256 +(\S+)/.exec(signed.stdout) ?? [];
  expect(openssl('x509', '-in', answer, '-noout', '-fingerprint', '-sha256')).toContain(sha256);
  const sum = execFileSync('sha256sum', [request], { encoding: 'utf8' }).split(' ')[0] ?? '';
  const [transcript = ''] = readdirSync(join(dir, 'transcripts')).filter((name) => name.includes('-sign-'));
  expect(readFileSync(join(dir, 'transcripts', transcript), 'utf8')).toContain(sum);
  const again = await ceremony('sign', request, '-o', at('other.pem'), '--yes');
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('signed before') });
});

test('the certificate is exported, and nothing else of the folder is', async () => {
  const { status, stdout } = await ceremony('export');
  expect({ status, stdout }).toEqual({ status: 0, stdout: readFileSync(join(dir, 'root.pem'), 'utf8') });
  expect(await ceremony('export', '--yes')).toMatchObject({ status: 2 });
});

test('the request of the root to a CA above has its key and name, and the answer is a chain for it', async () => {
  const [output, folderOf] = [at('above.pem'), join(dir, 'transcripts')];
  const about = (name: string): boolean => name.includes('request-above');
  expect(await ceremony('request')).toMatchObject({ status: 2, stderr: expect.stringContaining('-o FILE') });
  const dry = await ceremony('request', '-o', output, '--dry-run');
  expect(dry).toMatchObject({ status: 0, stdout: expect.stringContaining('nothing was changed (dry run)') });
  expect([existsSync(output), readdirSync(folderOf).filter(about)]).toEqual([false, []]);
  const other = await ceremony('request', '-o', output, '--key-encryption-key', at('request.pem'));
  expect([other.status, existsSync(output)]).toEqual([1, false]);
  const made = await ceremony('request', '-o', output);
  expect(made).toMatchObject({
    status: 0,
    stderr: '',
    stdout: expect.stringMatching(/authorities import CHAIN/),
  });
  const text = openssl('req', '-in', output, '-noout', '-verify', '-text');
  expect(text).toMatch(/CA:TRUE, pathlen:1[\s\S]*Certificate Sign, CRL Sign/);
  const root = join(dir, 'root.pem');
  expect(openssl('req', '-in', output, '-noout', '-pubkey')).toBe(
    openssl('x509', '-in', root, '-noout', '-pubkey'),
  );
  const sum = execFileSync('sha256sum', [output], { encoding: 'utf8' }).split(' ')[0] ?? '';
  const [transcript = ''] = readdirSync(folderOf).filter(about);
  expect(readFileSync(join(folderOf, transcript), 'utf8')).toContain(sum);
  expect(await ceremony('request', '-o', output)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('above.pem is there already'),
  });
  // As the CA that this root is for takes it.
  const corporate = makeOpensslCa(at('corporate'), TRUST_DOMAIN);
  const chain = readCross(Buffer.from(corporate.certify(output))).chain;
  const [own, above] = [root, corporate.root].map((path) =>
    parseCertificate(readPem(readFileSync(path, 'latin1'), 'CERTIFICATE', 'der')[0] ?? new Uint8Array()),
  );
  if (own === undefined) throw new Error('no root');
  verifyCross({ chain, root: own, rootAbove: above, names: [], now: new Date(), code: 'chain' });
});
