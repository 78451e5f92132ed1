import { createHash, randomBytes } from 'node:crypto';
import {
  AttestationService,
  type AttestRequest,
  IdentityService,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { addSeconds, unixSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError, type Refusal } from '@chancery/shared/ground/errors.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { attestedExtension } from '@chancery/shared/x509/attested.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyCsr, writeCsr, writeRequest } from '@chancery/shared/x509/csr.ts';
import { crlDistributionPoint, readCrlDistributionPoints } from '@chancery/shared/x509/extensions.ts';
import { EMPTY_NAME } from '@chancery/shared/x509/names.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
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
import { refusal } from '../../../../test/kit/refusal.ts';
import type { Attestor, Facts } from '../../attestors/attestor.ts';
import type { UnixCaller } from '../caller.ts';
import { attest, certified, issueX509, renew } from './attestation.ts';

const identity = { kind: 'Identity', name: 'web', platform: 'fake', id: 'spiffe://prod.example/web' };
const question = Buffer.from('who are you?');
const local: UnixCaller = {
  via: 'join',
  address: 'pid 1 uid 1',
  peer: { pid: 1, uid: 1, gid: 1, ensureStillThere() {}, close() {} },
};

let facts: Facts;
let rpc: Rpc;
let csr: Buffer;
beforeEach(async () => {
  facts = { node: 'n1', attributes: { zone: 'a' }, exclusive: true };
  const fake: Attestor = {
    type: 'fake',
    attest: async (_, turn) => {
      await turn.challenge(question);
      return facts;
    },
  };
  rpc = await makeRpc([fake]);
  await applied(rpc, identity);
  csr = Buffer.from(await writeCsr(signerOf(generateKey())));
});

const hello = (changes: object = {}): AttestRequest => ({
  message: {
    $case: 'hello',
    value: {
      platform: 'fake',
      csr,
      evidence: Buffer.from('opening'),
      spiffeId: '',
      instance: randomBytes(16),
      succeeds: undefined,
      now: 0n,
      ...changes,
    },
  },
});
const answer = (nonce: Uint8Array): AttestRequest => ({
  message: { $case: 'evidence', value: { nonce: Buffer.from(nonce), evidence: Buffer.from('me') } },
});

/** An exchange, to be joined or renewed with. */
function begin(caller: Parameters<typeof peerOf>[1] = stranger) {
  const renewing = caller.via === 'tls' && caller.shownCertificate;
  const call = new FakeCall(AttestationService.attest, peerOf(rpc, caller));
  call.run((renewing ? renew : attest)(rpc)(rpc));
  return call;
}

async function challenged(call: ReturnType<typeof begin>): Promise<Uint8Array> {
  const { message } = await call.next();
  if (message?.$case !== 'challenge') throw new Error('no challenge came');
  expect(message.value.question).toEqual(question);
  return message.value.nonce;
}

async function refused(call: ReturnType<typeof begin>, code: Refusal, detail: RegExp): Promise<void> {
  await expectRefused(rpc, await call.failed, code, detail);
}

describe('an exchange', () => {
  test('is hello, challenge, evidence, issued; its facts and the digest of all it said are on record', async () => {
    const call = begin();
    call.say(hello());
    call.say(answer(await challenged(call)));
    const { message } = await call.next();
    const value = message?.$case === 'issued' ? message.value : undefined;
    const bundle = rpc.authorities.bundle.current();
    expect(verifySvid(value?.chain ?? [], bundle, rpc.clock.now())).toMatchObject({ id: identity.id });
    expect(value).toMatchObject({ spiffeId: identity.id, bundle: bundle.authorities });
    const events = (await rpc.store.events(0, 100)).map(({ event }) => event);
    const evidence = createHash('sha256').update('openingme').digest('hex');
    expect(events).toContainEqual({
      type: 'node.attested',
      platform: 'fake',
      node: 'n1',
      attributes: { 'fake.zone': 'a' },
      evidence,
    });
    expect(rpc.outcomes).toEqual(['fake issued']);
    expect({ open: rpc.limits.open, nonces: rpc.nonces.size }).toEqual({ open: 0, nonces: 0 });
  });

  test.each([
    [-45, /^the agent's clock is 45 s behind this CA's: it takes a new certificate only when/],
    [-11, /^the agent's clock is 11 s behind this CA's: /],
    [61, /^the agent's clock is 61 s ahead of this CA's: set it$/],
    [-10, undefined],
    [60, undefined],
    [undefined, undefined],
  ])('I332 with an agent whose clock differs by %s s goes on, and the log says it', async (ahead, says) => {
    const warn = vi.spyOn(rpc.log, 'warn');
    warn.mockClear();
    const call = begin();
    const now = ahead === undefined ? 0n : unixSeconds(addSeconds(rpc.clock.now(), ahead));
    call.say(hello({ now }));
    const nonce = await challenged(call);
    expect(warn).not.toHaveBeenCalled();
    call.say(answer(nonce));
    expect((await call.next()).message?.$case).toBe('issued');
    const node = { platform: 'fake', node: 'n1' };
    expect(warn.mock.calls).toEqual(says === undefined ? [] : [[node, expect.stringMatching(says)]]);
  });

  test('gives no certificate where its facts could not be put on record', async () => {
    vi.spyOn(rpc.store, 'append').mockRejectedValueOnce(new IdentityError('store', 'the disk is full'));
    const call = begin();
    call.say(hello());
    call.say(answer(await challenged(call)));
    await refused(call, 'store', /^the disk is full$/);
    expect(rpc.outcomes).toEqual(['fake refused']);
  });

  test.each<[string, (call: ReturnType<typeof begin>) => void, Refusal, RegExp]>([
    [
      'begins with an answer',
      (call) => call.say(answer(randomBytes(32))),
      'out_of_order',
      /^expected hello, found evidence$/,
    ],
    ['begins with nothing', (call) => call.emit('end'), 'out_of_order', /^expected hello, found nothing$/],
    [
      'has an instance of 15 bytes',
      (call) => call.say(hello({ instance: randomBytes(15) })),
      'message_parse',
      /15 bytes/,
    ],
    [
      'opens with too much',
      (call) => call.say(hello({ evidence: Buffer.alloc((2 << 20) + 1) })),
      'message_size',
      /^evidence is 2097153 bytes$/,
    ],
    [
      'names no platform of ours',
      (call) => call.say(hello({ platform: 'aws' })),
      'platform_unknown',
      /^platform "aws" is not configured$/,
    ],
    [
      'asks for what is no SPIFFE ID',
      (call) => call.say(hello({ spiffeId: 'web' })),
      'spiffe_id',
      /does not start/,
    ],
    [
      'asks for another’s SPIFFE ID',
      (call) => call.say(hello({ spiffeId: `${identity.id}2` })),
      'not_entitled',
      /earned spiffe/,
    ],
    ['has a CSR that is none', (call) => call.say(hello({ csr: Buffer.alloc(0) })), 'csr_parse', /./],
  ])('that %s is refused', async (_, spoil, code, detail) => {
    const call = begin();
    spoil(call);
    if (code === 'not_entitled') call.say(answer(await challenged(call)));
    await refused(call, code, detail);
    expect(rpc.limits.open).toBe(0);
  });

  test.each<[string, (call: ReturnType<typeof begin>) => void, Refusal, RegExp]>([
    ['says hello again', (call) => call.say(hello()), 'out_of_order', /^expected evidence, found hello$/],
    ['says nothing more', (call) => call.emit('end'), 'out_of_order', /^expected evidence, found nothing$/],
    [
      'answers another nonce',
      (call) => call.say(answer(randomBytes(32))),
      'nonce_mismatch',
      /nonce that this CA did not send/,
    ],
  ])('that %s when it is challenged is refused', async (_, spoil, code, detail) => {
    const call = begin();
    call.say(hello());
    await challenged(call);
    spoil(call);
    await refused(call, code, detail);
    expect(rpc.nonces.size).toBe(0);
    expect(rpc.outcomes).toEqual(['fake refused']);
  });

  test('of a platform that a peer made up becomes no time series', async () => {
    const call = begin();
    call.say(hello({ platform: 'made-up' }));
    await call.failed;
    expect(rpc.outcomes).toEqual(['unknown refused']);
  });

  test('with a key that another node holds is refused', async () => {
    for (const node of ['n1', 'n2']) {
      facts = { ...facts, node, exclusive: false };
      const call = begin();
      call.say(hello());
      call.say(answer(await challenged(call)));
      if (node === 'n1') await call.next();
      else await refused(call, 'csr_key', /^the key belongs to another node$/);
    }
  });

  test('of a machine that has a live agent is refused', async () => {
    for (const first of [true, false]) {
      const call = begin();
      call.say(hello());
      call.say(answer(await challenged(call)));
      if (first) await call.next();
      else await refused(call, 'ek_in_use', /^fake\/n1 has a live agent already/);
    }
  });
});

describe('a renewal', () => {
  async function renewed(spoil: () => void = () => {}) {
    const { caller } = await certifiedCaller(rpc);
    const call = begin(caller);
    call.say(hello());
    const nonce = await challenged(call);
    spoil();
    call.say(answer(nonce));
    return call;
  }

  test('gives the same name for fresh evidence of the same node', async () => {
    const { message } = await (await renewed()).next();
    expect(message).toMatchObject({ $case: 'issued', value: { spiffeId: identity.id } });
  });

  test('by another node is refused', async () => {
    const call = await renewed(() => {
      facts = { ...facts, node: 'n2' };
    });
    await refused(call, 'ek_changed', /was given to fake\/n1, not fake\/n2$/);
  });

  test('whose certificate ends in the middle of it is refused', async () => {
    const call = await renewed(() => rpc.clock.jump(new Date(rpc.clock.now().getTime() + 3_601_000)));
    await refused(call, 'expired_peer', /expired/);
  });

  test.each([false, true])('with the same key, where that is allowed: %s', async (keyReuse) => {
    await applied(rpc, { ...identity, x509: { keyReuse } });
    const key = verifyCsr(csr);
    await rpc.store.record(
      {
        serial: '40ff',
        ...{
          id: 'spiffe://prod.example/web' as never,
          platform: 'fake',
          node: 'n1',
          identity: 'web',
          issuer: '40',
        },
        keySha256: key.sha256,
        notBefore: rpc.clock.now(),
        notAfter: new Date(rpc.clock.now().getTime() + 60_000),
      },
      { type: 'registry.applied', version: 0, changes: [], by: 'the test' },
    );
    const { caller, issued } = await certifiedCaller(rpc);
    const svid = (now: Date) => {
      const shown = caller.svid(now);
      return { ...shown, serial: '40ff', certificate: { ...shown.certificate, spki: key.spki } };
    };
    const call = begin({ ...caller, svid });
    expect(issued.serial).not.toBe('40ff');
    call.say(hello());
    call.say(answer(await challenged(call)));
    if (keyReuse) expect((await call.next()).message?.$case).toBe('issued');
    else await refused(call, 'key_reuse', /^web does not allow a renewal to keep its key$/);
  });
});

describe('more certificates', () => {
  const ask = (caller: Parameters<typeof peerOf>[1], csrs: readonly Buffer[], scope = '') =>
    callUnary(
      issueX509(rpc)(rpc),
      peerOf(rpc, caller),
      IdentityService.issueX509.requestSerialize({ csrs: [...csrs], succeeds: Buffer.alloc(0), scope }),
    );

  test('are given for the caller’s own name, as many as are asked for', async () => {
    const { caller, issued } = await certifiedCaller(rpc);
    const { response } = await ask(caller, [csr, csr]);
    const given = (response as { issued: { spiffeId: string; notAfter: bigint }[] }).issued;
    expect(given.map(({ spiffeId }) => spiffeId)).toEqual([identity.id, identity.id]);
    expect(given[0]?.notAfter).toBe(BigInt(issued.notAfter.getTime() / 1000));
    expect(rpc.outcomes).toEqual(['fake issued']);
  });

  test.each([true, false])('name the list of their issuer as the Identity says: %s', async (crl) => {
    await applied(rpc, { ...identity, x509: { crl } });
    const list = 'http://crl.prod.example/40aa.crl';
    const issuer = rpc.authorities.issuer(rpc.clock.now());
    const template = { ...issuer.template, list: [crlDistributionPoint(list)] };
    vi.spyOn(rpc.authorities, 'issuer').mockReturnValue({ ...issuer, template, crlUrl: list });
    const urlOf = (der: Uint8Array) =>
      readCrlDistributionPoints(parseCertificate(der), 'der')?.map(({ value }) =>
        Buffer.from(value).toString(),
      );
    const { caller } = await certifiedCaller(rpc);
    const { response } = await ask(caller, [csr]);
    const [derived] = (response as { issued: { chain: Buffer[] }[] }).issued;
    expect(urlOf(derived?.chain[0] ?? Buffer.alloc(0))).toEqual(crl ? [list] : undefined);
  });

  test('say of the workload what the caller’s says, whatever the request asks for', async () => {
    facts = { ...facts, attributes: { zone: 'a', rack: '7' } };
    await applied(rpc, { ...identity, x509: { attributes: ['zone'] } });
    const wished = attestedExtension({ platform: 'tpm', attributes: new Map([['fake.zone', 'b']]) });
    const key = generateKey();
    const wishing = await writeRequest(signerOf(key), { subject: EMPTY_NAME, extensions: [wished] });
    const call = begin();
    call.say(hello({ csr: Buffer.from(wishing) }));
    call.say(answer(await challenged(call)));
    const { message } = await call.next();
    const chain = message?.$case === 'issued' ? message.value.chain : [];
    const verified = (der: readonly Uint8Array[], now: Date) =>
      verifySvid(der, rpc.authorities.bundle.current(), now);
    const said = { platform: 'fake', attributes: new Map([['fake.zone', 'a']]) };
    expect(verified(chain, rpc.clock.now()).attested).toEqual(said);
    // The Identity has none by now: a derived certificate says what the one says that it comes of.
    await applied(rpc, identity);
    const caller = { ...(await certifiedCaller(rpc)).caller, svid: (now: Date) => verified(chain, now) };
    const { response } = await ask(caller, [Buffer.from(await writeCsr(signerOf(generateKey())))]);
    const [derived] = (response as { issued: { chain: Buffer[] }[] }).issued;
    expect(verified(derived?.chain ?? [], rpc.clock.now()).attested).toEqual(said);
  });

  test.each([0, 65])('are refused for %i requests', async (count) => {
    const { caller } = await certifiedCaller(rpc);
    const { error } = await ask(caller, new Array<Buffer>(count).fill(csr));
    await expectRefused(rpc, error, 'message_parse', new RegExp(`^${count} CSRs, expected 1 to 64$`));
  });

  test('are refused at the very end of the caller’s', async () => {
    const { caller, issued } = await certifiedCaller(rpc);
    rpc.clock.jump(issued.notAfter);
    const { error } = await ask(caller, [csr]);
    await expectRefused(rpc, error, 'expired_peer', /is about to end$/);
  });

  test('are not given on a unix socket', async () => {
    const { error } = await ask(local, [csr]);
    await expectRefused(rpc, error, 'no_peer', /^this needs a certificate, so not a unix socket$/);
  });
});

test.each<[string, object, RegExp]>([
  ['is not on record', { serial: '40ab' }, /^certificate 40ab is not on record$/],
  [
    'is another’s on record',
    { id: 'spiffe://prod.example/other' },
    /^certificate 40.* was recorded for .*\/web$/,
  ],
])('a certificate that %s is refused', async (_, changes, message) => {
  const { caller } = await certifiedCaller(rpc);
  const svid = (now: Date) => ({ ...caller.svid(now), ...changes });
  await expect(certified({ ...caller, svid }, rpc)).rejects.toThrow(refusal('chain', message));
});
