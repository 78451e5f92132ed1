/** Everything that a running CA really issues, read by two that are not ours: OpenSSL, strict, and @peculiar/x509. */
import '../kit/reflect.ts';

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { writePem } from '@chancery/shared/der/pem.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { Crypto } from '@peculiar/webcrypto';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca/ca.ts';
import { issueOne, joinAs } from '../kit/ca/join.ts';

const crypto = new Crypto();
const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/ns/default/sa/web`);
const NAMES = ['web.default.svc', 'web'];

interface Issued {
  readonly der: Uint8Array;
  /** From its own issuer up to the root. */
  readonly above: readonly Uint8Array[];
}

const KINDS = ['root', 'intermediate', 'leaf', 'second leaf', 'server'] as const;
type Kind = (typeof KINDS)[number];

let ca: TestCa;
let all: Readonly<Record<Kind, Issued>>;
const dir = mkdtempSync(join(tmpdir(), 'issued-'));
beforeAll(async () => {
  ca = await startTestCa({});
  const x509 = { ttl: '1h', dnsNames: NAMES };
  await ca.apply({ kind: 'Identity', name: 'web', platform: 'unix', id: ID, x509 });
  const [root, intermediate] = await Promise.all([ca.authority('root'), ca.authority('intermediate')]);
  const svid = await joinAs(ca);
  const { chain: second } = await issueOne(ca, svid);
  const server = await shownBy(ca, svid, root.certificate.der);
  const top = [root.certificate.der];
  const chained = ([leaf, ...above]: readonly Uint8Array[]): Issued => ({
    der: leaf ?? new Uint8Array(),
    above: [...above, ...top],
  });
  all = {
    root: { der: root.certificate.der, above: top },
    intermediate: { der: intermediate.certificate.der, above: top },
    leaf: chained(svid.chain),
    'second leaf': chained(second),
    server: chained(server),
  };
});
afterAll(async () => {
  await ca.close();
  rmSync(dir, { recursive: true });
});

/** The chain that the CA itself shows to a client, which Node's own TLS must accept with nothing but the root. */
async function shownBy({ running }: TestCa, svid: Svid, root: Uint8Array): Promise<readonly Uint8Array[]> {
  const key = svid.key.export({ type: 'pkcs8', format: 'pem' });
  const cert = svid.chain.map((der) => writePem('CERTIFICATE', der)).join('');
  const socket = tls.connect({
    host: '127.0.0.1',
    port: running.port,
    ca: writePem('CERTIFICATE', root),
    ALPNProtocols: ['h2'],
    key,
    cert,
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  expect(socket.authorized).toBe(true);
  const chain: Uint8Array[] = [];
  let shown = socket.getPeerX509Certificate();
  while (shown !== undefined && !Buffer.from(root).equals(shown.raw)) {
    chain.push(shown.raw);
    shown = shown.issuerCertificate;
  }
  socket.destroy();
  return chain;
}

function file(name: string, ...certificates: readonly Uint8Array[]): string {
  const path = join(dir, name);
  writeFileSync(path, certificates.map((der) => writePem('CERTIFICATE', der)).join(''));
  return path;
}

/** Throws with what OpenSSL said. */
const openssl = (...args: readonly string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

describe('OpenSSL, strict,', () => {
  const verify = ({ der, above }: Issued, ...more: readonly string[]): string => {
    const anchor = file('root.pem', above.at(-1) ?? der);
    const between = above.length > 1 ? ['-untrusted', file('between.pem', ...above.slice(0, -1))] : [];
    const strict = ['-x509_strict', '-check_ss_sig', '-policy_check', '-verify_depth', '1'];
    return openssl('verify', ...strict, ...more, '-CAfile', anchor, ...between, file('it.pem', der));
  };

  test.each(KINDS)('verifies the %s', (kind) => {
    expect(verify(all[kind])).toMatch(/: OK$/m);
  });

  test.each(['leaf', 'second leaf', 'server'] as const)(
    'takes the %s for servers and for clients',
    (kind) => {
      for (const purpose of ['sslserver', 'sslclient'])
        expect(verify(all[kind], '-purpose', purpose)).toMatch(/: OK$/m);
    },
  );

  test('takes a leaf by its DNS names, and by no other', () => {
    for (const name of NAMES) expect(verify(all.leaf, '-verify_hostname', name)).toMatch(/: OK$/m);
    expect(() => verify(all.leaf, '-verify_hostname', 'other.default.svc')).toThrow(/hostname mismatch/i);
  });

  test('reads the names and the limits as they were meant', () => {
    const text = (kind: Kind): string =>
      openssl('x509', '-in', file('it.pem', all[kind].der), '-noout', '-text');
    expect(text('leaf')).toMatch(
      new RegExp(`Alternative Name: (critical)?\\s+URI:${ID}, DNS:web\\.default\\.svc, DNS:web\n`),
    );
    expect(text('second leaf')).toMatch(new RegExp(`Alternative Name: (critical)?\\s+URI:${ID}\n`));
    expect(text('server')).toMatch(new RegExp(`URI:spiffe://${TRUST_DOMAIN}/chancery/ca`));
    for (const kind of ['leaf', 'second leaf', 'server'] as const) {
      expect(text(kind)).toMatch(/Key Usage: critical\s+Digital Signature\n/);
      expect(text(kind)).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    }
    expect(text('intermediate')).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    for (const kind of ['root', 'intermediate'] as const) {
      expect(text(kind)).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
      expect(text(kind)).toMatch(new RegExp(`Alternative Name: \\s+URI:spiffe://${TRUST_DOMAIN}\n`));
    }
  });
});

describe('@peculiar/x509', () => {
  const read = (der: Uint8Array) => new peculiar.X509Certificate(Buffer.from(der));

  test.each(KINDS)('reads the %s, verifies it by its issuer and writes it back the same', async (kind) => {
    const { der, above } = all[kind];
    const [issuer = der] = above;
    const theirs = read(der);
    expect(await theirs.verify({ publicKey: read(issuer), date: ca.clock.now() }, crypto)).toBe(true);
    expect(Buffer.from(theirs.rawData).equals(der)).toBe(true);
    expect(theirs.issuer).toBe(read(issuer).subject);
  });

  test.each(KINDS)('finds the issuer of the %s by its key identifier', (kind) => {
    const { der, above } = all[kind];
    const [issuer = der] = above;
    const named = read(der).getExtension(peculiar.AuthorityKeyIdentifierExtension)?.keyId;
    const own = read(issuer).getExtension(peculiar.SubjectKeyIdentifierExtension)?.keyId;
    // RFC 5280 section 4.2.1.1: only a self-signed certificate may go without.
    if (kind === 'root') expect([own, undefined]).toContain(named);
    else expect(named).toBe(own);
  });

  test('reads the SPIFFE ID and the DNS names of a leaf', () => {
    const names = read(all.leaf.der).getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON();
    expect(names).toEqual([{ type: 'url', value: ID }, ...NAMES.map((value) => ({ type: 'dns', value }))]);
  });

  test('no two serial numbers are the same, and each is positive and of 128 bits', () => {
    const serials = KINDS.map((kind) => read(all[kind].der).serialNumber);
    expect(new Set(serials).size).toBe(KINDS.length);
    for (const serial of serials) expect(serial).toMatch(/^[0-7][0-9a-f]{31,39}$/);
  });

  test('nothing outlives its issuer', () => {
    for (const kind of KINDS) {
      const { der, above } = all[kind];
      const [issuer = der] = above;
      expect(read(der).notAfter.getTime()).toBeLessThanOrEqual(read(issuer).notAfter.getTime());
      expect(read(der).notBefore.getTime()).toBeGreaterThanOrEqual(read(issuer).notBefore.getTime());
    }
  });
});
