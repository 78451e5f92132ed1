/** `login`: a person signs in at the issuer of the CA's config, and this machine gets an operator's certificate. */
import { spawn } from 'node:child_process';
import {
  type GetIssuerResponse,
  SignInClient,
  type SignInResponse,
} from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import {
  type Command,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { readPem } from '@chancery/shared/der/pem.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { trustDomainIn } from '@chancery/shared/x509/verify/svid.ts';
import * as grpc from '@grpc/grpc-js';
import { nonceFor } from '../../sign-in/binding.ts';
import { carriedLogKey } from '../bundle-file.ts';
import { CA_FLAG, instant, printJson } from '../flags.ts';
import { type Channel, channelTo } from './channel.ts';
import { byCode } from './code.ts';
import { byDevice } from './device.ts';
import { endpointsOf } from './issuer.ts';
import { callFailed, proveCa } from './proof.ts';
import { keepSession, keptSession, lastAddress, logKeyOf } from './session.ts';

const MAX_BYTES = 1024 * 1024;
const CALL_MS = 30_000;

export const login: Command = {
  says: 'Signs you in as an operator of a CA, also from another machine.',
  flags: {
    ...CA_FLAG,
    bundle: {
      type: 'string',
      value: 'FILE',
      says: 'What `chancery-ca bundle` prints; needed for the first sign-in at a CA.',
    },
    device: { type: 'boolean', says: 'Sign in with a browser on another machine, by a code.' },
    again: { type: 'boolean', says: 'Show the issuer anew who you are, for what needs a fresh sign-in.' },
    'issuer-ca': { type: 'string', value: 'FILE', says: "PEM file of the issuer's own roots." },
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const address = invocation.text('ca') ?? lastAddress(io.env);
    if (address === undefined) throw new MisuseError('name the CA with --ca HOST:PORT');
    const { bundle, logKey: known } = trustFor(invocation, address, io);
    const channel = channelTo(address, bundle, undefined);
    const ask = askOn(channel);
    const logKey = await proveCa(channel, known);
    const client = new SignInClient(address, channel.credentials, channel.options);
    try {
      const { issuer, clientId } = await ask<GetIssuerResponse>((done, options) =>
        client.getIssuer({}, new grpc.Metadata(), options, done),
      );
      const key = generateKey();
      const signer = signerOf(key);
      const nonce = nonceFor(bundle.trustDomain, signer.spki);
      const idToken = await tokenFrom({ issuer, clientId, nonce }, invocation, io);
      const csr = Buffer.from(await writeCsr(signer));
      const answer = await ask<SignInResponse>((done, options) =>
        client.signIn({ idToken, csr }, new grpc.Metadata(), options, done),
      );
      const notAfter = new Date(Number(answer.notAfter) * 1000);
      const svid = { id: parseSpiffeId(answer.spiffeId), chain: answer.chain, key };
      const times = { notBefore: systemClock.now(), notAfter, renewAfter: notAfter };
      const trusted = { ...bundle, authorities: answer.bundle };
      keepSession({ address, bundle: trusted, svid: { ...svid, ...times }, logKey }, io.env);
      tell(answer, address, invocation, io);
      return 0;
    } finally {
      client.close();
    }
  },
};

/** Who signed in is named: another person may have used the address that was shown. */
function tell(answer: SignInResponse, ca: string, invocation: Invocation, io: Io): void {
  const { spiffeId, person, role, servers, notAfter } = answer;
  if (invocation.has('json')) {
    printJson(io, { ca, spiffeId, person, role, servers, notAfter });
    return;
  }
  const of = servers.length === 0 ? '' : ` of ${servers.join(', ')}`;
  io.out(`signed in at ${ca} as ${role}${of} until ${instant(notAfter)}\n${spiffeId}\n`);
  // A CA of an older release does not say it.
  if (person !== '') io.out(`you are ${printable(person)}\n`);
}

/** A file of the operator's, or what the last sign-in left: what this CA is verified by. */
function trustFor(invocation: Invocation, address: string, { env }: Io): Trusted {
  const file = invocation.text('bundle');
  if (file === undefined) {
    const kept = keptSession(address, env);
    if (kept === undefined)
      throw new MisuseError(
        'the first sign-in at a CA needs --bundle FILE, which `chancery-ca bundle` prints',
      );
    return { ...kept, logKey: logKeyOf(kept) };
  }
  const text = readTrustedFile(file, { maxBytes: MAX_BYTES, code: 'bundle' }).toString('latin1');
  const authorities = readPem(text, 'CERTIFICATE', 'bundle');
  const [first] = authorities;
  ensure(first !== undefined, 'bundle', `${file} has no certificate`);
  const trustDomain = trustDomainIn(parseCertificate(first));
  return { bundle: { authorities, sequence: 0n, trustDomain }, logKey: carriedLogKey(text) };
}

/** Without a key of the log, the one that the CA names is taken: only beside a file that was carried here without. */
interface Trusted {
  readonly bundle: Bundle;
  readonly logKey: string | undefined;
}

type Done<Res> = (error: grpc.ServiceError | null, response: Res) => void;

const askOn =
  ({ address }: Channel) =>
  <Res>(call: (done: Done<Res>, options: grpc.CallOptions) => unknown): Promise<Res> =>
    new Promise((resolve, reject) => {
      call((error, response) => (error ? reject(callFailed(address, error)) : resolve(response)), {
        deadline: new Date(Date.now() + CALL_MS),
      });
    });

async function tokenFrom(
  at: { readonly issuer: string; readonly clientId: string; readonly nonce: string },
  invocation: Invocation,
  io: Io,
): Promise<string> {
  const outbound = openOutbound();
  const file = invocation.text('issuer-ca');
  const ca = file === undefined ? undefined : readTrustedFile(file, { maxBytes: MAX_BYTES, code: 'file' });
  const deps = { outbound, ca, clock: systemClock, signal: io.signal };
  const asked = { ...at, again: invocation.has('again') };
  try {
    const endpoints = await endpointsOf(at.issuer, deps);
    if (invocation.has('device')) return await byDevice(endpoints, asked, { ...deps, show: io.err });
    const own = { uid: process.geteuid?.() ?? -1, platform: process.platform };
    return await byCode(endpoints, asked, { ...deps, own, show: (url) => show(url, io) });
  } finally {
    outbound.close();
  }
}

/** A browser needs a display; the address is printed in any case. */
function show(url: string, { err, env }: Io): void {
  err(`sign in at:\n${url}\n`);
  if (env['DISPLAY'] === undefined && env['WAYLAND_DISPLAY'] === undefined) return;
  const opener = spawn('xdg-open', [url], { stdio: 'ignore', detached: true });
  opener.on('error', () => {});
  opener.unref();
}
