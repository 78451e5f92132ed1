import { once } from 'node:events';
import tls from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { corporate, crossOf } from '../../../test/kit/ca/above.ts';
import { after, type Made, makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Bundle } from '../spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '../spiffe/id.ts';
import type { Svid } from '../spiffe/svid.ts';
import { clientTls, serverTls } from './options.ts';
import { verifyPeer } from './peer.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
/** In the handshake OpenSSL checks certificates by the real time. */
const LONG = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2120-01-01T00:00:00Z') };
const root = makeAuthority('Root', undefined, { fields: LONG });
const issuing = makeAuthority('Issuing', root, { fields: LONG });
const leafOf = (issuer: Made, name: string = id) => makeLeaf(name, issuer, { fields: LONG });
const bundleOf = (authority: Made): Bundle => ({
  trustDomain: parseTrustDomain('prod.example'),
  authorities: [authority.certificate.der],
  sequence: 1n,
});
const bundle = bundleOf(root);
const stranger = makeAuthority('Stranger', undefined, { fields: LONG });

function svidOf(leaf = leafOf(issuing), ...above: readonly Made[]): Svid {
  const { key, certificate } = leaf;
  const { notBefore, notAfter } = certificate;
  const chain = [certificate, ...above.map((each) => each.certificate)].map(({ der }) => der);
  return { id, key, notBefore, notAfter, renewAfter: notAfter, chain };
}
const svid = svidOf(undefined, issuing);

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** Both ends of a loopback connection after a handshake that succeeded at the client. */
async function connected(server: tls.TlsOptions, client: tls.ConnectionOptions) {
  const listening = tls.createServer({ ...server, requestCert: true, rejectUnauthorized: false });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  open.push({ destroy: () => listening.close() });
  const address = listening.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const dial = async (more: tls.ConnectionOptions = {}) => {
    const accepted = once(listening, 'secureConnection');
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      checkServerIdentity: () => undefined,
      ...client,
      ...more,
    });
    open.push(socket);
    const tickets = once(socket, 'session');
    tickets.catch(() => {});
    const [[there]] = await Promise.all([accepted, once(socket, 'secureConnect')]);
    const peer: tls.TLSSocket = there;
    peer.on('error', () => {});
    open.push(peer);
    return { here: socket, there: peer, tickets };
  };
  return dial;
}

describe('a connection', () => {
  test('proves both sides to each other, with the hybrid group of TLS 1.3', async () => {
    const { here, there } = await (await connected(serverTls(svid), clientTls(svid, bundle)))();
    for (const socket of [here, there]) expect(verifyPeer(socket, bundle, NOW)).toMatchObject({ id });
    expect(here.getProtocol()).toBe('TLSv1.3');
    expect(here.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' });
  });

  test('to a server that shows the chain of a CA above, too, is verified by our root', async () => {
    const cross = crossOf(root.certificate, corporate, { fields: LONG });
    const full = { ...svid, chain: [...svid.chain, cross.der, corporate.certificate.der] };
    const { here } = await (await connected(serverTls(full), clientTls(svid, bundle)))();
    expect(verifyPeer(here, bundle, NOW)).toMatchObject({ id });
  });

  test.each([
    ['TLS 1.2', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const],
    ['a group that is not ours', { ecdhCurve: 'P-521' }],
  ])('with %s is refused', async (_, options) => {
    const dial = await connected(serverTls(svid), { ...clientTls(svid, bundle), ...options });
    await expect(dial()).rejects.toThrow(/alert|protocol/i);
  });

  test('to a server of another authority is refused in the handshake', async () => {
    const dial = await connected(serverTls(svidOf(leafOf(stranger), stranger)), clientTls(svid, bundle));
    await expect(dial()).rejects.toThrow(/self-signed|unable to/);
  });
});

describe('the peer', () => {
  const shown = async (certificate: Svid | undefined, now = NOW) => {
    const dial = await connected(serverTls(svid), clientTls(certificate, bundle));
    const { there } = await dial();
    return () => verifyPeer(there, bundle, now);
  };

  test('without a certificate is refused', async () => {
    expect(await shown(undefined)).toThrow(refusal('no_peer', /^the peer showed no certificate$/));
  });

  test.each<[string, Svid, Date, Parameters<typeof refusal>]>([
    [
      'of another authority',
      svidOf(leafOf(stranger)),
      NOW,
      ['chain', /^the certificate chain does not end at a trusted root \(1 trusted\)$/],
    ],
    [
      'of another trust domain',
      svidOf(leafOf(issuing, 'spiffe://test.example/web'), issuing),
      NOW,
      ['svid', /is not of trust domain prod\.example/],
    ],
    [
      'whose certificate has expired',
      svidOf(makeLeaf(id, issuing), issuing),
      after(3601),
      ['expired_peer', /^a certificate expired at 2026/],
    ],
    [
      'that is an authority',
      svidOf(issuing),
      NOW,
      ['svid', /^the certificate of an authority names a workload$/],
    ],
  ])('%s is refused', async (_, certificate, now, [code, message]) => {
    expect(await shown(certificate, now)).toThrow(refusal(code, message));
  });

  test('on a resumed session is refused: its certificate was not verified again', async () => {
    const { secureOptions: _, ...lenient } = serverTls(svid);
    const { secureOptions: __, ...resuming } = clientTls(svid, bundle);
    const dial = await connected(lenient, resuming);
    const first = await dial();
    first.there.write('a');
    const [session] = await first.tickets;
    const again = await dial({ session });
    expect(again.there.isSessionReused()).toBe(true);
    for (const socket of [again.here, again.there])
      expect(() => verifyPeer(socket, bundle, NOW)).toThrow(
        refusal('no_peer', /^the TLS session was resumed$/),
      );
  });

  test('that offers an old session gets a full handshake from our server', async () => {
    const { secureOptions: _, ...resuming } = clientTls(svid, bundle);
    const lenient = await connected({ ...serverTls(svid), secureOptions: 0 }, resuming);
    const first = await lenient();
    first.there.write('a');
    const [session] = await first.tickets;
    const ours = await connected(serverTls(svid), resuming);
    const { there } = await ours({ session });
    expect(there.isSessionReused()).toBe(false);
    expect(verifyPeer(there, bundle, NOW)).toMatchObject({ id });
  });
});
