import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { writeBundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority, makeLeaf } from '../../../test/kit/certificates.ts';
import { type BootstrapOptions, bootstrapBundle } from './bootstrap.ts';

const trustDomain = parseTrustDomain('prod.example');
const root = makeAuthority('Root').certificate;
const second = makeAuthority('Second Root').certificate;
const pem = (der: Uint8Array): string => writePem('CERTIFICATE', der);
const pinOf = ({ spki }: { spki: Uint8Array }): string => hash('sha256', spki, 'hex');

const dir = mkdtempSync(join(tmpdir(), 'bootstrap-'));
afterAll(() => rmSync(dir, { recursive: true }));
function file(content: string | Uint8Array): string {
  const path = join(dir, 'bundle');
  writeFileSync(path, content);
  return path;
}

function makePipe(path: string): void {
  rmSync(path);
  execFileSync('mkfifo', [path]);
}

const options = (changes: Partial<BootstrapOptions>): BootstrapOptions => ({
  trustDomain,
  address: '127.0.0.1:1',
  bundleFile: undefined,
  pin: undefined,
  ...changes,
});

const document = (...authorities: readonly Uint8Array[]): string =>
  writeBundle({ trustDomain, authorities, sequence: 9n });

describe('a bundle file', () => {
  test.each([
    ['one certificate', pem(root.der), [root], 0n],
    ['two, with words between them', `first\n${pem(root.der)}second\n${pem(second.der)}`, [root, second], 0n],
    ['a SPIFFE bundle document', document(root.der, second.der), [root, second], 9n],
  ])('%s', async (_, content, authorities, sequence) => {
    const bundle = await bootstrapBundle(options({ bundleFile: file(content) }));
    expect(bundle.authorities.map(hex)).toEqual(authorities.map(({ der }) => hex(der)));
    expect(bundle).toMatchObject({ trustDomain, sequence });
  });

  test.each([
    { name: 'nothing', content: '', says: 'no PEM block' },
    {
      name: 'a private key',
      content: writePem('PRIVATE KEY', root.der),
      says: 'a PEM block is "PRIVATE KEY"',
    },
    {
      name: 'something that is not a certificate',
      content: pem(Buffer.from('none')),
      says: 'a block is not a certificate; get it again by `chancery-ca bundle` at the CA',
    },
    { name: 'a document with none', content: '{"keys":[]}', says: 'no authority in it' },
    { name: 'a broken document', content: '{"keys":', says: '' },
  ])('with $name is refused', async ({ content, says }) => {
    await expect(bootstrapBundle(options({ bundleFile: file(content) }))).rejects.toMatchObject({
      code: 'bundle',
      message: expect.stringMatching(new RegExp(`^the bundle \\S+/bundle: .*${says}`)),
    });
  });

  test.each([
    ['that others may write', (path: string) => chmodSync(path, 0o666), /others may write it \(mode 666\)/],
    ['that is a pipe', makePipe, /a regular file is expected, found a pipe/],
  ])('I72 %s is refused', async (_, spoil, says) => {
    const bundleFile = file(pem(root.der));
    spoil(bundleFile);
    await expect(bootstrapBundle(options({ bundleFile }))).rejects.toMatchObject({
      code: 'bootstrap',
      message: expect.stringMatching(says),
    });
    rmSync(bundleFile);
  });

  test('I72 of another user, or behind a link of another user, is refused', async () => {
    if (geteuid?.() !== 0) return console.info('only root may give a file to another user');
    const bundleFile = file(pem(root.der));
    const link = join(dir, 'link');
    symlinkSync(bundleFile, link);
    lchownSync(link, 4001, 4001);
    const refused = (says: RegExp) => ({ code: 'bootstrap', message: expect.stringMatching(says) });
    await expect(bootstrapBundle(options({ bundleFile: link }))).rejects.toMatchObject(
      refused(/the link \S+ belongs to uid 4001/),
    );
    chownSync(bundleFile, 4001, 4001);
    await expect(bootstrapBundle(options({ bundleFile }))).rejects.toMatchObject(
      refused(/it belongs to uid 4001/),
    );
    rmSync(bundleFile);
  });

  test('as a ConfigMap has it, behind links in a folder that is open to all, is read', async () => {
    const volume = join(dir, 'volume');
    mkdirSync(join(volume, '..2026'), { recursive: true });
    chmodSync(volume, 0o777);
    writeFileSync(join(volume, '..2026', 'bundle.pem'), pem(root.der));
    symlinkSync('..2026', join(volume, '..data'));
    symlinkSync('..data/bundle.pem', join(volume, 'bundle.pem'));
    const { authorities } = await bootstrapBundle(options({ bundleFile: join(volume, 'bundle.pem') }));
    expect(authorities).toHaveLength(1);
  });

  test('that is not there', async () => {
    const bundleFile = join(dir, 'none');
    await expect(bootstrapBundle(options({ bundleFile }))).rejects.toMatchObject({
      code: 'bootstrap',
      message: `the bundle ${bundleFile}: no such file or folder`,
    });
  });
});

test('I18 neither a bundle nor a pin is no trust, and nobody is asked', async () => {
  await expect(bootstrapBundle(options({}))).rejects.toMatchObject({
    code: 'bootstrap',
    message: expect.stringContaining('set `bundle` or `pin`'),
  });
});

describe('a pin', () => {
  const server = new grpc.Server();
  let address: string;
  let offered: readonly Uint8Array[];
  beforeAll(async () => {
    server.addService(TrustService, {
      getBundle: (_: unknown, done: grpc.sendUnaryData<unknown>) =>
        done(null, {
          trustDomain,
          x509Authorities: offered.map(asBuffer),
          sequence: 3n,
          jwtAuthorities: [],
          readerVersion: 0,
          retiringX509: [],
          crossChains: [],
          logKey: '',
          note: '',
        }),
      watch: () => {},
    });
    // Any server may answer at the address: its certificate is not one that the agent knows.
    const stranger = makeAuthority('stranger');
    const { certificate, key } = makeLeaf('spiffe://elsewhere.example/x', stranger);
    const credentials = grpc.ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(pem(certificate.der)), private_key: Buffer.from(keyPem(key)) },
    ]);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    address = `127.0.0.1:${port}`;
  });
  afterAll(() => server.forceShutdown());

  test('takes the pinned root and leaves the rest', async () => {
    offered = [second.der, root.der];
    const { authorities } = await bootstrapBundle(options({ address, pin: pinOf(root) }));
    expect(authorities.map(hex)).toEqual([hex(root.der)]);
  });

  test.each([
    ['I18 a pin of another key', () => [second.der], 'bootstrap', 'none of the 1 authorities'],
    ['I18 no authority at all', () => [], 'bootstrap', 'none of the 0 authorities'],
    [
      'I18 bytes that are no certificate',
      () => [Buffer.from('none')],
      'bootstrap',
      'none of the 1 authorities',
    ],
  ])('%s', async (_, authorities, code, says) => {
    offered = authorities();
    await expect(bootstrapBundle(options({ address, pin: pinOf(root) }))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(says),
    });
  });

  test('nobody at the address', async () => {
    await expect(bootstrapBundle(options({ pin: pinOf(root) }))).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
