/** Which certificates replace others, as Attest, Renew and IssueX509 record it and Watch tells it. */
import { type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  AttestationService,
  type AttestRequest,
  IdentityService,
  type IssueX509Response,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { successionStatement } from '@chancery/shared/evidence/succession.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  applied,
  callUnary,
  certifiedCaller,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import { predecessorOf } from '../../succession/successions.ts';
import type { TlsCaller } from '../caller.ts';
import { attest, issueX509, renew } from '../exchange/attestation.ts';
import { watch } from './trust.ts';

const WEB = 'spiffe://prod.example/web';
const instance = randomBytes(16);
let rpc: Rpc;
let node: string;
beforeEach(async () => {
  node = 'n1';
  rpc = await makeRpc([{ type: 'fake', attest: async () => ({ node, attributes: {}, exclusive: false }) }]);
  await applied(rpc, { kind: 'Identity', name: 'web', platform: 'fake', id: WEB });
});

const freshCsr = async (key = generateKey()) => Buffer.from(await writeCsr(signerOf(key)));
const serialOf = (chain: readonly Uint8Array[] = []): string =>
  hex(parseCertificate(chain[0] ?? new Uint8Array()).serial);

interface Old {
  readonly serial: string;
  readonly key: KeyObject;
}

/** What an agent sends that joins again: the old key signs for the new one. */
function proof({ serial, key }: Old, next: KeyObject, trustDomain = 'prod.example') {
  const bytes = Buffer.from(serial, 'hex');
  const statement = successionStatement(trustDomain, bytes, spkiOf(next));
  const signature = Buffer.from(sign('sha256', statement, key));
  return { serial: bytes, publicKey: Buffer.from(spkiOf(key)), signature };
}

/** Joins, or renews where the caller has a certificate; returns the new one's serial, key and caller. */
async function obtain(caller: TlsCaller = stranger, changes: object = {}, key = generateKey()) {
  const method = caller.shownCertificate ? renew : attest;
  const call = new FakeCall(AttestationService.attest, peerOf(rpc, caller));
  call.run(method(rpc)(rpc));
  const value = {
    platform: 'fake',
    csr: await freshCsr(key),
    evidence: Buffer.alloc(0),
    spiffeId: '',
    instance,
    succeeds: undefined,
    now: 0n,
  };
  const hello: AttestRequest = { message: { $case: 'hello', value: { ...value, ...changes } } };
  call.say(hello);
  const { message } = await call.next();
  if (message?.$case !== 'issued') throw new Error('nothing was issued');
  return { ...asCaller(message.value.chain), key };
}

/** Joins again, as the agent that has this certificate. */
async function again(old: Old) {
  const key = generateKey();
  return obtain(stranger, { succeeds: proof(old, key) }, key);
}

function asCaller(chain: readonly Uint8Array[]) {
  const bundle = rpc.authorities.bundle.current();
  const svid = (now: Date) => verifySvid(chain, bundle, now);
  return { serial: serialOf(chain), caller: { ...stranger, shownCertificate: true, svid } };
}

/** The agent process's trust stream. */
function follow(caller: TlsCaller, as: Buffer = instance) {
  const call = new FakeCall(TrustService.watch, peerOf(rpc, caller));
  call.run(watch(rpc)(rpc));
  call.say({ message: { $case: 'hello', value: { instance: as, version: '1' } } });
  return call;
}

async function derived(caller: TlsCaller, succeeds = '') {
  const request = { csrs: [await freshCsr()], succeeds: Buffer.from(succeeds, 'hex'), scope: '' };
  const bytes = IdentityService.issueX509.requestSerialize(request);
  const { response } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), bytes);
  return serialOf((response as IssueX509Response).issued[0]?.chain);
}

const before = async (serial: string) => (await rpc.store.issuance(serial))?.succeeds;
const told = () => rpc.successions.since(0).list.map(({ old, next }) => [old, next]);

describe('a renewed certificate', () => {
  test('replaces the one that the renewal was made with, on record and for gateways', async () => {
    const first = await obtain();
    const second = await obtain(first.caller);
    expect(await before(first.serial)).toBeUndefined();
    expect(await before(second.serial)).toBe(first.serial);
    expect(told()).toEqual([[first.serial, second.serial]]);
    expect(await rpc.store.successions(9)).toMatchObject([{ old: first.serial, next: second.serial }]);
    const events = (await rpc.store.events(0, 100)).map(({ event }) => event);
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'svid.issuing', serial: second.serial, succeeds: first.serial }),
    );
  });

  test('is forgotten with the end of the old one', async () => {
    const { caller } = await certifiedCaller(rpc, 60);
    await obtain(caller);
    expect(await rpc.store.successions(9)).toHaveLength(1);
    rpc.clock.jump(new Date(rpc.clock.now().getTime() + 61_000));
    expect(told()).toEqual([]);
    expect(await rpc.store.successions(9)).toEqual([]);
  });
});

describe('a certificate of an agent that joins again', () => {
  test('replaces the one whose key has signed for the new key', async () => {
    const first = await obtain();
    const second = await again(first);
    const third = await again(second);
    expect(told()).toEqual([
      [first.serial, second.serial],
      [second.serial, third.serial],
    ]);
  });

  test('replaces none that it does not name, whatever streams its process has open', async () => {
    const first = await obtain();
    const stream = follow(first.caller);
    await stream.next();
    await obtain();
    expect(told()).toEqual([]);
  });

  test.each([
    [
      'another node',
      async () => {
        node = 'n2';
      },
    ],
    [
      'another SPIFFE ID',
      () => applied(rpc, { kind: 'Identity', name: 'web', platform: 'fake', id: `${WEB}2` }),
    ],
    [
      'a revoked certificate',
      async ({ serial }: Old) => {
        const target = parseTarget('serial', serial);
        await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'the test' });
      },
    ],
    [
      'a certificate that has ended',
      async () => rpc.clock.jump(new Date(rpc.clock.now().getTime() + 2 * 3600_000)),
    ],
  ])('takes nothing over from %s', async (_, change) => {
    const first = await obtain();
    await change(first);
    const second = await again(first);
    expect(await before(second.serial)).toBeUndefined();
    expect(told()).toEqual([]);
  });

  test.each<[string, (old: Old, key: KeyObject) => object]>([
    ['another key', ({ serial }, key) => proof({ serial, key: generateKey() }, key)],
    [
      'the old key for another new key, as one who repeats the proof would show it',
      (old) => proof(old, generateKey()),
    ],
    ['the old key in another trust domain', (old, key) => proof(old, key, 'test.example')],
    ['nobody', (old, key) => ({ ...proof(old, key), signature: Buffer.alloc(0) })],
    ['no key', (old, key) => ({ ...proof(old, key), publicKey: Buffer.from('30', 'hex') })],
  ])('is refused with a proof by %s', async (_, made) => {
    const first = await obtain();
    const key = generateKey();
    const call = new FakeCall(AttestationService.attest, peerOf(rpc, stranger));
    call.run(attest(rpc)(rpc));
    const fields = { platform: 'fake', csr: await freshCsr(key), evidence: Buffer.alloc(0), spiffeId: '' };
    const value = { ...fields, instance, succeeds: made(first, key) as ReturnType<typeof proof>, now: 0n };
    call.say({ message: { $case: 'hello', value } });
    await expectRefused(rpc, await call.failed, 'csr_pop', /has not signed for the new key$/);
    expect(told()).toEqual([]);
  });
});

describe('a certificate replaces', () => {
  const web = { id: parseSpiffeId(WEB), platform: 'fake', node: 'n1' };

  test('one of the same SPIFFE ID and node that is good now', async () => {
    const { serial } = await obtain();
    expect(await predecessorOf(serial, web, rpc)).toMatchObject({ serial });
    expect(await predecessorOf(undefined, web, rpc)).toBeUndefined();
  });

  test.each([
    ['another SPIFFE ID', { id: parseSpiffeId(`${WEB}2`) }],
    ['another node', { node: 'n2' }],
    ['another platform', { platform: 'tpm' }],
  ])('none of %s', async (_, changes) => {
    const { serial } = await obtain();
    expect(await predecessorOf(serial, { ...web, ...changes }, rpc)).toBeUndefined();
  });

  test('none that is revoked or has ended', async () => {
    const [first, second] = [await obtain(), await certifiedCaller(rpc, 60)];
    const target = parseTarget('serial', first.serial);
    await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'the test' });
    expect(await predecessorOf(first.serial, web, rpc)).toBeUndefined();
    expect(await predecessorOf(second.issued.serial, web, rpc)).toBeDefined();
    rpc.clock.jump(second.issued.notAfter);
    expect(await predecessorOf(second.issued.serial, web, rpc)).toBeUndefined();
  });
});

describe('a derived certificate', () => {
  test('replaces the one before, issued through the same agent with the certificate before', async () => {
    const first = await obtain();
    const old = await derived(first.caller);
    const third = await obtain((await obtain(first.caller)).caller);
    const next = await derived(third.caller, old);
    expect(await before(next)).toBe(old);
    expect(told()).toContainEqual([old, next]);
  });

  test('takes nothing over through an agent that does not come of the former one, nor from an agent', async () => {
    const first = await obtain();
    const old = await derived(first.caller);
    const other = await obtain(stranger, { instance: randomBytes(16) });
    expect(await before(await derived(other.caller, old))).toBeUndefined();
    expect(await before(await derived(first.caller, first.serial))).toBeUndefined();
    expect(await before(await derived(first.caller, '40ff'))).toBeUndefined();
    expect(told()).toEqual([]);
  });

  test('is asked for alone where it replaces another', async () => {
    const first = await obtain();
    const csrs = [await freshCsr(), await freshCsr()];
    const bytes = IdentityService.issueX509.requestSerialize({
      csrs,
      succeeds: Buffer.from('40aa', 'hex'),
      scope: '',
    });
    const { error } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, first.caller), bytes);
    await expectRefused(rpc, error, 'message_parse', /^succeeds with several CSRs$/);
  });
});

test('a gateway gets successions on its stream, without a number to acknowledge; other agents get none', async () => {
  const first = await obtain();
  const stream = follow(first.caller, randomBytes(16));
  await stream.next();
  const second = await obtain(first.caller);
  const server = { kind: 'McpServer', name: 's', identity: WEB, address: 'a:1' };
  await applied(rpc, { kind: 'Identity', name: 'web', platform: 'fake', id: WEB }, server);
  expect(await stream.next()).toMatchObject({ sequence: 3n, successions: [] });
  const message = await stream.next();
  expect(message).toMatchObject({ sequence: 0n, policy: undefined });
  expect(message.successions.map(({ old, next }) => [hex(old), hex(next)])).toEqual([
    [first.serial, second.serial],
  ]);
  const third = await obtain(second.caller);
  rpc.clock.advanceTo(new Date(rpc.clock.now().getTime() + 50));
  expect((await stream.next()).successions.map(({ next }) => hex(next))).toEqual([third.serial]);
  expect(stream.written).toEqual([]);
});
