/** Who may call with which certificate, and for how long: rows I8 to I11, I14 to I16, I19, I25. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import tls from 'node:tls';
import { IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { generateKey, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { freshCsr, helloMessage, issueOne, joinAs, openRenew } from '../../kit/ca/join.ts';
import { expectRefusal, talk } from '../../kit/ca/talk.ts';
import { type Made, makeAuthority, makeLeaf, type Recipe } from '../../kit/certificates.ts';

const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload`);
const identity = { kind: 'Identity', name: 'workload', platform: 'unix', id: ID, x509: { ttl: '1m' } };
let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({ limits: { attestationsPerSecond: 1000, attestationBurst: 1000 } });
});
beforeEach(() => ca.apply(identity));
afterAll(() => ca.close());

async function refusedIssue(svid: Svid, code: Refusal, detail: RegExp): Promise<void> {
  const error: { code: number; details: string } = await issueOne(ca, svid).then(
    () => expect.fail('it was issued'),
    (refusal) => refusal,
  );
  await expectRefusal(ca, error, code, detail);
}

async function refusedRenewal(svid: Svid | undefined, code: Refusal, detail: RegExp): Promise<void> {
  const renewal = openRenew(ca, svid);
  renewal.send(await helloMessage());
  await expectRefusal(ca, await renewal.status(), code, detail);
  renewal.close();
}

describe('a certificate that was good', () => {
  test('I8 renewal with an expired certificate', async () => {
    const svid = await joinAs(ca);
    ca.clock.move(61);
    await refusedRenewal(svid, 'expired_peer', /expired|not valid/);
    ca.clock.move(-61);
  });

  test('I8 renewal without a certificate', () => refusedRenewal(undefined, 'no_peer', /no certificate/));

  test('I8 a certificate that the CA has no record of', async () => {
    const issuer = await ca.authority('intermediate');
    await refusedIssue(svidOf(forged(ID, issuer), issuer), 'chain', /not on record/);
  });

  test('I8 a recorded serial under another name', async () => {
    const issuer = await ca.authority('intermediate');
    const [{ serial } = { serial: '' }] = await ca.store.issued({ limit: 1 });
    const another = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/admin`);
    const made = forged(another, issuer, { fields: { serial: Buffer.from(serial, 'hex') } });
    await refusedIssue(svidOf(made, issuer, another), 'chain', /was recorded for/);
  });

  test('I8 an identity that is no longer given', async () => {
    const svid = await joinAs(ca);
    await ca.apply({ ...identity, id: `spiffe://${TRUST_DOMAIN}/renamed` });
    const again = joinAs(ca, { id: svid.id });
    await expect(again).rejects.toThrow(/no identity is given/);
    await expectRefusal(
      ca,
      { code: 7, details: 'no identity is given for this evidence' },
      'not_entitled',
      /earned .*renamed/,
    );
  });

  test('I10 an open connection whose certificate has expired', async () => {
    const svid = await joinAs(ca);
    const target = ca.target(svid);
    const client = new IdentityClient(target.address, target.credentials, target.options);
    const csr = await freshCsr();
    const issue = () =>
      new Promise<{ code: number; details: string } | null>((resolve) => {
        client.issueX509({ csrs: [csr], succeeds: Buffer.alloc(0), scope: '' }, (error) => resolve(error));
      });
    expect(await issue()).toBeNull();
    ca.clock.move(61);
    const error = await issue();
    await expectRefusal(ca, error ?? { code: 0, details: '' }, 'expired_peer', /expired/);
    client.close();
    ca.clock.move(-61);
  });

  test('I10 a long-lived stream ends with its certificate', async () => {
    const svid = await joinAs(ca);
    const target = ca.target(svid);
    const client = new TrustClient(target.address, target.credentials, target.options);
    const watching = talk(client.watch());
    watching.send({ message: { $case: 'hello', value: { instance: randomBytes(16), version: 'test' } } });
    const { sequence } = await watching.next();
    watching.send({ message: { $case: 'ack', value: { sequence, parts: undefined } } });
    // From then on the CA waits for the next message.
    await vi.waitFor(async () => {
      const events = (await ca.store.events(0, 1000)).map(({ event }) => event.type);
      expect(events).toContain('agent.acknowledged');
    });
    ca.clock.move(61);
    await expectRefusal(ca, await watching.status(), 'expired_peer', /has expired/);
    client.close();
    ca.clock.move(-61);
  });
});

test('a renewal over TLS cannot use peer credentials, which exist only on the CA’s own socket', async () => {
  await refusedRenewal(await joinAs(ca), 'peer_unknown', /did not come over the CA's own unix socket/);
});

describe('the chain that a caller shows', () => {
  let intermediate: Made;
  beforeAll(async () => {
    intermediate = await ca.authority('intermediate');
  });

  test('I14 a leaf used as an issuer', async () => {
    // Named and identified as an issuer is, so that nothing but its being a leaf stands in the way.
    const key = generateKey();
    const keyId = x509.subjectKeyIdentifier(x509.keyIdentifierOf(spkiOf(key), 'der'));
    const leaf = forged(ID, intermediate, {
      key,
      fields: { subject: commonName('leaf') },
      extensions: {
        keyId,
        usage: x509.keyUsage(x509.KEY_USAGE.digitalSignature, x509.KEY_USAGE.keyCertSign),
      },
    });
    const below = forged(ID, leaf);
    const chain = [below, leaf, intermediate].map(({ certificate }) => certificate.der);
    await refusedIssue({ ...svidOf(below, leaf), chain }, 'chain', /an issuer is not an authority/);
  });

  test('I15 a chain to an authority that is not in the bundle', async () => {
    const stranger = makeAuthority(
      'issuer',
      makeAuthority('stranger', undefined, atNow(86_400)),
      atNow(86_400),
    );
    await refusedIssue(
      svidOf(forged(ID, stranger), stranger),
      'chain',
      /the certificate chain does not end at a trusted root/,
    );
  });

  const named = (uris: readonly string[], dnsNames: readonly string[] = []): Recipe => ({
    extensions: { names: x509.subjectAltName({ uris, dnsNames, critical: true }) },
  });
  const nameless: Recipe = { extensions: { names: undefined } };
  test.each<[string, Recipe, RegExp]>([
    ['no SAN', nameless, /has no URI name/],
    ['two URIs', named([ID, `${ID}2`]), /has 2 URI names/],
    ['a DNS name only', named([], ['workload.svc']), /has no URI name/],
    [
      'the ID in the common name only',
      { ...nameless, fields: { subject: commonName(ID) } },
      /has no URI name/,
    ],
    ['a URI that is no SPIFFE ID', named(['https://a.example/']), /does not start with spiffe/],
    ['a trust domain without a path', named([`spiffe://${TRUST_DOMAIN}`]), /has no path/],
    ['another trust domain', named(['spiffe://other.example/workload']), /is not of trust domain/],
  ])('I16 %s', async (_, recipe, detail) => {
    await refusedIssue(svidOf(forged(ID, intermediate, recipe), intermediate), 'svid', detail);
  });

  test('I19 a certificate for servers only', async () => {
    const made = forged(ID, intermediate, {
      extensions: { purposes: x509.extKeyUsage(x509.EKU.serverAuth) },
    });
    await refusedIssue(svidOf(made, intermediate), 'svid', /without client authentication/);
  });

  test('I25 a chain of twenty, each of which does certify the one before it', async () => {
    const authorities = [intermediate];
    while (authorities.length < 19) {
      const issuer = authorities.at(-1) ?? intermediate;
      authorities.push(makeAuthority(`authority ${authorities.length}`, issuer, atNow(60)));
    }
    const leaf = forged(ID, authorities.at(-1) ?? intermediate);
    const chain = [leaf, ...authorities.toReversed()].map(({ certificate }) => certificate.der);
    await refusedIssue({ ...svidOf(leaf, intermediate), chain }, 'chain_too_long', /at most 8/);
  });
});

describe('TLS', () => {
  const dial = (options: tls.ConnectionOptions) =>
    tls.connect({
      ...clientTls(undefined, ca.bundle),
      host: '127.0.0.1',
      port: ca.running.port,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
      ...options,
    });

  test.each(['TLSv1.2', 'TLSv1.1'] as const)('I19 %s', async (version) => {
    const socket = dial({ minVersion: version, maxVersion: version });
    const [error] = await once(socket, 'error');
    expect(String(error)).toMatch(/protocol version|no protocols/i);
  });

  test('TLS 1.3 with the hybrid group', async () => {
    const socket = dial({});
    await once(socket, 'secureConnect');
    expect(socket.getProtocol()).toBe('TLSv1.3');
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' });
    socket.destroy();
  });

  test('I9 a session is never resumed, so an expired certificate cannot come back with one', async () => {
    const svid = await joinAs(ca);
    const tickets: Buffer[] = [];
    const first = dial(clientTls(svid, ca.bundle));
    first.on('session', (session) => tickets.push(session));
    await once(first, 'secureConnect');
    // The server's first words come after any ticket that it would send.
    await once(first, 'data');
    first.destroy();
    const [session] = tickets;
    const again = dial({ ...clientTls(svid, ca.bundle), ...(session === undefined ? {} : { session }) });
    await once(again, 'secureConnect');
    expect(again.isSessionReused()).toBe(false);
    again.destroy();
  });

  test('I19 no ALPN is no gRPC', async () => {
    const socket = dial({ ALPNProtocols: [] });
    await once(socket, 'close');
  });
});

const atNow = (seconds: number): Recipe => {
  const now = Math.floor(systemClock.now().getTime() / 1000) * 1000;
  return { fields: { notBefore: new Date(now - 10_000), notAfter: new Date(now + seconds * 1000) } };
};

function forged(id: string, issuer: Made, recipe: Recipe = {}): Made {
  const { fields = {} } = atNow(60);
  return makeLeaf(id, issuer, { ...recipe, fields: { ...fields, ...recipe.fields } });
}

function svidOf({ certificate, key }: Made, issuer: Made, id = ID): Svid {
  const { notBefore, notAfter } = certificate;
  return {
    id,
    chain: [certificate.der, issuer.certificate.der],
    key,
    notBefore,
    notAfter,
    renewAfter: notAfter,
  };
}
