/** I250: a thief of an authority answers an operator's command line in the CA's place. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { leafFields, leafTemplate } from '@chancery/ca/authority/profile.ts';
import { keyIdOf } from '@chancery/ca/authority/records.ts';
import { type Channel, channelTo } from '@chancery/ca/cli/login/channel.ts';
import { proveCa } from '@chancery/ca/cli/login/proof.ts';
import { keepSession } from '@chancery/ca/cli/login/session.ts';
import { readCaConfig } from '@chancery/ca/config.ts';
import { keysOf } from '@chancery/ca/open-keys.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  type ProveRequest,
  type ProveResponse,
  SignInClient,
  SignInService,
} from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { generateKey, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import { signPeer } from '@chancery/shared/voucher/peer-note.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { assembleCertificate, writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAuthority } from '../../kit/certificates.ts';
import { CA_MAIN, makeFolder, type Ran, removeFolder, runProgram, serveUnixCa } from '../../kit/processes.ts';
import { newLogKey } from '../../kit/voucher.ts';

const TRUST_DOMAIN = 'op.example';
const OPERATOR = `spiffe://${TRUST_DOMAIN}/chancery/operator/${'a'.repeat(32)}`;
const HOUR_MS = 3_600_000;
const dir = makeFolder();
const env = { XDG_STATE_HOME: join(dir, 'state') };
let served: Awaited<ReturnType<typeof serveUnixCa>>;
let bundle: Parameters<typeof channelTo>[1];
let logKey: string;
let operator: Awaited<ReturnType<Thief['mint']>>;
let forged: Awaited<ReturnType<Thief['mint']>>;
let server: grpc.Server;
let address: string;
let heard: string[] = [];
let onProve: (request: ProveRequest) => Promise<ProveResponse>;
let shown: Uint8Array = new Uint8Array();

type Thief = Awaited<ReturnType<typeof thiefOf>>;

/** Who has the key of the intermediate. */
async function thiefOf({ ca }: typeof served) {
  const { authorities } = JSON.parse((await ca.cli('authorities', '--json')).stdout);
  const stolen = authorities.find(({ kind }: { kind: string }) => kind === 'intermediate');
  const der = await intermediateOf(ca.port);
  const { homes } = await keysOf(readCaConfig(ca.config) as never);
  const signer = await homes.intermediate.load({ home: stolen.keyHome, reference: stolen.keyReference });
  const above = leafTemplate(parseCertificate(der), keyIdOf(der));
  const mint = async (id: string, role: 'ca' | 'operator') => {
    const key = generateKey();
    const times = { notBefore: new Date(Date.now() - 10_000), notAfter: new Date(Date.now() + HOUR_MS) };
    const said = { role, crl: false, attested: undefined };
    const subject = { id: parseSpiffeId(id), dnsNames: [], spki: spkiOf(key), ...said };
    const tbs = writeTbs(
      leafFields(above, subject, randomBytes(20).fill(0x41, 0, 1), times),
      signer.algorithm,
    );
    const leaf = assembleCertificate(tbs, signer.algorithm, await signer.sign(tbs));
    return { key, chain: [leaf, der] };
  };
  return { serial: String(stolen.serial), mint };
}

async function intermediateOf(port: number): Promise<Uint8Array> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const { raw } = socket.getPeerCertificate(true).issuerCertificate;
  socket.destroy();
  return new Uint8Array(raw);
}

/** Asks the true CA, as the thief does. */
async function askCa(request: ProveRequest): Promise<ProveResponse> {
  const {
    address: target,
    credentials,
    options,
  } = channelTo(`127.0.0.1:${served.ca.port}`, bundle, undefined);
  const client = new SignInClient(target, credentials, options);
  return new Promise<ProveResponse>((resolve, reject) => {
    client.prove(request, (error, response) => (error ? reject(error) : resolve(response)));
  }).finally(() => client.close());
}

beforeAll(async () => {
  served = await serveUnixCa(dir, TRUST_DOMAIN, []);
  const pem = readFileSync(served.ca.bundle, 'latin1');
  bundle = {
    ...{ authorities: readPem(pem, 'CERTIFICATE', 'bundle'), sequence: 0n },
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
  };
  logKey = (await askCa({ nonce: Buffer.alloc(32) })).logKey;
  const thief = await thiefOf(served);
  operator = await thief.mint(OPERATOR, 'operator');
  expect(await served.ca.cli('taint', thief.serial, '--reason', 'stolen', '--yes')).toMatchObject({
    status: 0,
  });
  forged = await thief.mint(`spiffe://${TRUST_DOMAIN}/chancery/ca`, 'ca');
  shown = forged.chain[0] ?? shown;
  server = new grpc.Server();
  server.addService(OperatorService, implementation());
  server.addService(SignInService, {
    getIssuer: refuse,
    signIn: refuse,
    prove: (
      call: grpc.ServerUnaryCall<ProveRequest, ProveResponse>,
      done: grpc.sendUnaryData<ProveResponse>,
    ) =>
      onProve(call.request).then(
        (answer) => done(null, answer),
        (error) => done(error),
      ),
  });
  address = `127.0.0.1:${await listen()}`;
});
afterAll(async () => {
  server?.forceShutdown();
  await served?.serving.stop('SIGKILL');
  removeFolder(dir);
});

const refuse = (_: unknown, done: grpc.sendUnaryData<never>) => done({ code: grpc.status.UNIMPLEMENTED });

/** Says yes to all. */
function implementation(): grpc.UntypedServiceImplementation {
  const names = Object.keys(OperatorService);
  return Object.fromEntries(
    names.map((name) => [
      name,
      (_: unknown, done?: grpc.sendUnaryData<object>) => {
        heard.push(name);
        done?.(null, { authorities: [], requests: [], resources: [] });
      },
    ]),
  );
}

function listen(): Promise<number> {
  const pair = {
    private_key: Buffer.from(keyPem(forged.key)),
    cert_chain: Buffer.from(forged.chain.map((der) => writePem('CERTIFICATE', der)).join('')),
  };
  return new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createSsl(null, [pair], false);
    server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

/** The command line of an operator who signed in before the theft, and goes to this address. */
const run = (at: string, ...args: readonly string[]): Promise<Ran> => runWith(logKey, at, ...args);

async function runWith(known: string | undefined, at: string, ...args: readonly string[]): Promise<Ran> {
  const times = { notBefore: new Date(), notAfter: new Date(Date.now() + HOUR_MS), renewAfter: new Date() };
  keepSession(
    { address: at, bundle, logKey: known, svid: { id: parseSpiffeId(OPERATOR), ...operator, ...times } },
    env,
  );
  process.env['XDG_STATE_HOME'] = env.XDG_STATE_HOME;
  return runProgram(CA_MAIN, [...args, '--ca', at]);
}

const own = newLogKey(TRUST_DOMAIN);
const peerOf = ({ nonce }: ProveRequest) => ({ nonce, certificate: shown });

test.each<readonly [string, typeof onProve]>([
  ['asks the true CA for its word', askCa],
  [
    'signs with a key of its own',
    async (asked) => ({ note: signPeer(peerOf(asked), own.verifier, own.privateKey), logKey }),
  ],
  [
    'names a key of its own, too',
    async (asked) => ({ note: signPeer(peerOf(asked), own.verifier, own.privateKey), logKey: own.text }),
  ],
  ['repeats what the CA has signed before', () => askCa({ nonce: Buffer.alloc(32) })],
  ['says nothing of it', () => Promise.reject({ code: grpc.status.UNIMPLEMENTED })],
])('I250 one that %s is asked nothing', async (_, prove) => {
  onProve = prove;
  heard = [];
  const channel: Channel = channelTo(address, bundle, undefined);
  await expect(proveCa(channel, logKey)).rejects.toMatchObject({
    code: expect.stringMatching(/^(wrong_peer|unavailable)$/),
  });
  expect(heard).toEqual([]);
});

test('I250 the command line asks a thief for nothing, and says what to do', async () => {
  onProve = askCa;
  heard = [];
  const ran = await run(
    address,
    'revoke',
    `spiffe://${TRUST_DOMAIN}/agents/stolen`,
    '--reason',
    'keyCompromise',
  );
  expect(ran).toMatchObject({ status: 1, stdout: '' });
  expect(ran.stderr).toMatch(/the key of the CA's audit log does not stand behind the certificate/);
  expect(heard).toEqual([]);
});

test.each(['authorities', 'login'])(
  'I288 %s by a sign-in of an older release asks nobody for the key of the log',
  async (command) => {
    heard = [];
    onProve = async (asked) => ({
      note: signPeer(peerOf(asked), own.verifier, own.privateKey),
      logKey: own.text,
    });
    const ran = await runWith(undefined, address, command);
    expect(ran).toMatchObject({ status: 1, stdout: '' });
    expect(ran.stderr).toMatch(
      /an older release signed you in at .*: chancery-ca login --ca .* --bundle FILE/,
    );
    expect(heard).toEqual([]);
  },
);

test('I326 a first sign-in with the bundle of the CA takes no other key of the log', async () => {
  heard = [];
  onProve = async (asked) => ({
    note: signPeer(peerOf(asked), own.verifier, own.privateKey),
    logKey: own.text,
  });
  process.env['XDG_STATE_HOME'] = join(dir, 'first');
  const ran = await runProgram(CA_MAIN, ['login', '--bundle', served.ca.bundle, '--ca', address]);
  expect(ran).toMatchObject({ status: 1, stdout: '' });
  expect(ran.stderr).toMatch(/the key of the CA's audit log does not stand behind the certificate/);
  expect(existsSync(join(dir, 'first'))).toBe(false);
});

test('I250 another certificate on a later connection of the same command is refused', async () => {
  const channel = channelTo(`127.0.0.1:${served.ca.port}`, bundle, undefined);
  await proveCa(channel, logKey);
  const client = new SignInClient(address, channel.credentials, channel.options);
  const answer = await new Promise((resolve) => {
    client.prove({ nonce: Buffer.alloc(32) }, (error) => resolve(error?.details));
  }).finally(() => client.close());
  expect(answer).toMatch(/shows another certificate than before/);
});

test('the true CA proves itself', async () => {
  const channel = channelTo(`127.0.0.1:${served.ca.port}`, bundle, undefined);
  expect(await proveCa(channel, undefined)).toBe(logKey);
});

test('a machine that does not know the root of the CA hears what to do', async () => {
  const { certificate } = makeAuthority('of before');
  const channel = channelTo(
    `127.0.0.1:${served.ca.port}`,
    { ...bundle, authorities: [certificate.der] },
    undefined,
  );
  const says = new RegExp(
    `has another root than .*: chancery-ca login --ca 127.0.0.1:${served.ca.port} --bundle FILE`,
  );
  await expect(proveCa(channel, logKey)).rejects.toThrow(says);
});
