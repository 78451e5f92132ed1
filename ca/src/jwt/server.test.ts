/** Key set and discovery document over HTTPS, as verifiers ask for them. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { JwtAuthority } from '@chancery/shared/spiffe/jwt-authority.ts';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { keySetText } from './documents.ts';
import { type KeyServer, type KeyServerOptions, serveKeys } from './server.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

/** A certificate of localhost as `openssl` makes it. */
function pair(name: string) {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost', '-days', '2'];
  const made = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', ['req', ...made, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' });
  return { cert, key };
}
const first = pair('first');
const jwtOf = (keyId: string, namedCurve = 'P-256'): JwtAuthority => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve });
  return { keyId, spki: publicKey.export({ format: 'der', type: 'spki' }) };
};
const bundle = new LiveValue<{ readonly jwtAuthorities: readonly JwtAuthority[] }>(
  () => new IdentityError('internal', 'none'),
  { jwtAuthorities: [jwtOf('40aa'), jwtOf('40bb', 'P-384')] },
);

const open: KeyServer[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});
async function serve(changes: Partial<KeyServerOptions> = {}): Promise<number> {
  const server = await serveKeys({
    ...{
      host: '127.0.0.1',
      port: 0,
      issuer: 'https://id.prod.example',
      bundle,
      clock: systemClock,
      log: silentLog,
    },
    readTls: () => ({ cert: readFileSync(first.cert), key: readFileSync(first.key) }),
    ...changes,
  });
  open.push(server);
  return server.port;
}

interface Got {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}
const get = (port: number, path: string, more: https.RequestOptions = {}): Promise<Got> =>
  new Promise((resolve, reject) => {
    const ca = readFileSync(first.cert);
    const options = { host: '127.0.0.1', servername: 'localhost', port, path, ca, agent: false, ...more };
    const request = https.request(options, (response) => {
      let body = '';
      response.on('data', (part) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.on('error', reject).end();
  });

test('the key set has public members alone, each with kid, use and alg (I194)', async () => {
  const { status, headers, body } = await get(await serve(), '/keys');
  expect(status).toBe(200);
  expect(headers).toMatchObject({
    ...{ 'cache-control': 'public, max-age=300', 'content-type': 'application/json' },
    etag: expect.any(String),
  });
  const at = { x: expect.any(String), y: expect.any(String) };
  expect(JSON.parse(body)).toEqual({
    keys: [
      { kty: 'EC', kid: '40aa', use: 'sig', alg: 'ES256', crv: 'P-256', ...at },
      { kty: 'EC', kid: '40bb', use: 'sig', alg: 'ES384', crv: 'P-384', ...at },
    ],
  });
});

test('a key that leaves the bundle is in no answer after that', async () => {
  const port = await serve();
  const before = bundle.current();
  const old = await get(port, '/keys');
  bundle.publish({ jwtAuthorities: before.jwtAuthorities.slice(1) });
  const { status, body } = await get(port, '/keys', {
    headers: { 'if-none-match': String(old.headers['etag']) },
  });
  bundle.publish(before);
  expect([status, JSON.parse(body).keys.length]).toEqual([200, 1]);
});

test.each([
  ['without a path', 'https://id.prod.example', ['/.well-known/openid-configuration', '/keys']],
  [
    'with one, whether or not an ingress takes it away',
    'https://prod.example/chancery',
    ['/.well-known/openid-configuration', '/chancery/.well-known/openid-configuration', '/chancery/keys'],
  ],
])('an issuer %s is named literally, whatever Host says (I195)', async (_, issuer, paths) => {
  const port = await serve({ issuer });
  for (const path of paths) {
    const { status, body } = await get(port, path, { headers: { host: 'evil.example' } });
    expect(status).toBe(200);
    if (path.endsWith('keys')) continue;
    expect(JSON.parse(body)).toMatchObject({
      issuer,
      jwks_uri: `${issuer}/keys`,
      id_token_signing_alg_values_supported: ['ES256', 'ES384'],
    });
    expect(body).not.toContain('evil');
  }
});

test('an answer is not sent again to who has it', async () => {
  const port = await serve();
  const { headers } = await get(port, '/keys');
  const again = await get(port, '/keys', { headers: { 'if-none-match': String(headers['etag']) } });
  expect([again.status, again.body]).toEqual([304, '']);
  expect((await get(port, '/keys', { method: 'HEAD' })).body).toBe('');
});

describe('nothing else is served (I194)', () => {
  test.each([
    ['another path', '/', {}, 404],
    ['a query', '/keys?x=1', {}, 404],
    ['a way out of the folder', '/../keys/generation', {}, 404],
    ['a doubled slash', '//keys', {}, 404],
    ['a POST', '/keys', { method: 'POST' }, 405],
    ['a long header', '/keys', { headers: { x: 'y'.repeat(20_000) } }, 431],
  ])('%s', async (_, path, more, status) => {
    const got = await get(await serve(), path, more);
    expect(got.status).toBe(status);
    expect(got.body).not.toContain('kty');
  });

  test('a client without TLS', async () => {
    const port = await serve();
    const answer = await new Promise<string>((resolve) => {
      let said = '';
      const socket = connect(port, '127.0.0.1', () => socket.write('GET /keys HTTP/1.1\r\nHost: a\r\n\r\n'));
      socket.on('data', (part) => {
        said += part;
      });
      socket.on('close', () => resolve(said)).on('error', () => {});
    });
    expect(answer).not.toContain('kty');
  });
});

test('another certificate is taken without a restart, and one that cannot be used is not', async () => {
  const clock = new ManualClock(NOW);
  let files = first;
  const port = await serve({
    clock,
    readTls: () => ({ cert: readFileSync(files.cert), key: readFileSync(files.key) }),
  });
  const subject = async (): Promise<string> => {
    const ca = [first, second].map(({ cert }) => readFileSync(cert));
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', servername: 'localhost', port, path: '/keys', ca, agent: false };
      const request = https.request(options, (response) => {
        resolve(String((response.socket as unknown as Peer).getPeerCertificate().subject.CN));
        response.resume();
      });
      request.on('error', reject).end();
    });
  };
  const second = pair('second');
  writeFileSync(join(folder, 'broken.pem'), 'no certificate');
  files = { cert: join(folder, 'broken.pem'), key: second.key };
  clock.advanceTo(new Date(clock.now().getTime() + 31_000));
  expect(await subject()).toBe('first');
  files = second;
  clock.advanceTo(new Date(clock.now().getTime() + 31_000));
  await expect.poll(subject).toBe('second');
});

interface Peer {
  getPeerCertificate(): { readonly subject: { readonly CN: string } };
}

test('the text of no keys is an empty set', () => {
  expect(JSON.parse(keySetText([]))).toEqual({ keys: [] });
});
