import { EventEmitter } from 'node:events';
import type {
  AttestationClient,
  AttestRequest,
  AttestResponse,
  Issued,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { describe, expect, test, vi } from 'vitest';
import {
  after,
  type Made,
  makeAuthority,
  makeLeaf,
  NOW,
  type Recipe,
} from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { EvidenceSource } from '../evidence/evidence.ts';
import { acceptIssued, join, joinWith, type ObtainRequest } from './obtain.ts';
import { SkewWarning, skewOf } from './skew.ts';

const trustDomain = parseTrustDomain('prod.example');
const id = parseSpiffeId('spiffe://prod.example/web');
const root = makeAuthority('Root');
const bundle = { trustDomain, authorities: [root.certificate.der], sequence: 1n };
const clock = { now: () => NOW, sleepUntil: async () => {} };
const key = generateKey();
const seconds = (time: Date): bigint => BigInt(time.getTime() / 1000);

function issuedOf(leaf: Made, renewAfter = after(1800)): Issued {
  const { der, notAfter } = leaf.certificate;
  return {
    chain: [asBuffer(der)],
    bundle: [asBuffer(root.certificate.der)],
    notAfter: seconds(notAfter),
    renewAfter: seconds(renewAfter),
    spiffeId: id,
    now: seconds(NOW),
  };
}

const leafOf = (recipe: Recipe = {}, name: string = id, issuer = root): Made =>
  makeLeaf(name, issuer, { key, ...recipe });
const life = (from: number, to: number): Recipe => ({
  fields: { notBefore: after(from), notAfter: after(to) },
});

const accept = (issued: Issued) =>
  acceptIssued(issued, spkiOf(key), { bundle, id, clock, ahead: skewOf(NOW, issued.now) });

describe('what the CA issued', () => {
  const genuine = { issued: issuedOf(leafOf()), wanted: id as typeof id | undefined };

  test('is accepted whole', () => {
    const { issued } = genuine;
    expect(accept(issued)).toEqual({
      id,
      chain: issued.chain,
      notBefore: after(-10),
      notAfter: after(3600),
      renewAfter: after(1800),
    });
  });

  test('is accepted under the CA’s default where no ID was asked for', () => {
    const any = { bundle, id: undefined, clock, ahead: 0 };
    expect(acceptIssued(genuine.issued, spkiOf(key), any).id).toBe(id);
  });

  const other = 'spiffe://prod.example/other';
  test.each([
    {
      name: 'another key',
      issued: issuedOf(leafOf({ key: generateKey() })),
      code: 'svid',
      says: 'another key than ours',
    },
    { name: 'another ID', issued: issuedOf(leafOf({}, other)), code: 'svid', says: `certified ${other}` },
    {
      name: 'another trust domain',
      issued: issuedOf(leafOf({}, 'spiffe://test.example/web')),
      code: 'svid',
      says: 'not of trust domain prod.example',
    },
    {
      name: 'another authority',
      issued: issuedOf(leafOf({}, id, makeAuthority('Root'))),
      code: 'chain',
      says: '',
    },
    { name: 'nothing', issued: { ...genuine.issued, chain: [] }, code: 'chain', says: 'chain is empty' },
    {
      name: 'one that has expired by a clock that is ahead',
      issued: { ...issuedOf(leafOf(life(-3720, -120)), after(-1920)), now: seconds(after(-3710)) },
      code: 'expired_peer',
      says: "this machine's clock is 3710 s ahead of the CA's: ",
    },
    {
      name: 'one that has as good as expired by a clock that is ahead',
      issued: { ...issuedOf(leafOf(life(-3581, 29)), after(-1771)), now: seconds(after(-3571)) },
      code: 'expired_peer',
      says: "the new certificate ends in 29 s by this machine's clock: set the clock",
    },
    {
      name: 'one from the future by a clock that is behind',
      issued: { ...issuedOf(leafOf(life(70, 3680)), after(1880)), now: seconds(after(80)) },
      code: 'expired_peer',
      says: "this machine's clock is 80 s behind the CA's: ",
    },
    { name: 'an expired one', issued: issuedOf(leafOf(life(-20, -10))), code: 'expired_peer', says: '' },
    { name: 'one from the future', issued: issuedOf(leafOf(life(10, 20))), code: 'expired_peer', says: '' },
    {
      name: 'a renewal at its end',
      issued: issuedOf(leafOf(), after(3600)),
      code: 'svid',
      says: "CA's time for renewal is outside the certificate's lifetime",
    },
    {
      name: 'a renewal at its beginning',
      issued: issuedOf(leafOf(), after(-10)),
      code: 'svid',
      says: "CA's time for renewal is outside the certificate's lifetime",
    },
  ])('refuses $name', ({ issued, code, says }) => {
    expect(() => accept(issued)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(says) }),
    );
  });
});

/** An hour's certificate, which the CA made when its clock had `second`; ours has 0. */
const madeAt = (second: number): Issued => ({
  ...issuedOf(leafOf(life(second - 10, second + 3600)), after(second + 1800)),
  now: seconds(after(second)),
});

describe('by a clock that differs from the CA’s', () => {
  const renewal = (issued: Issued): number => (accept(issued).renewAfter.getTime() - NOW.getTime()) / 1000;

  test.each([
    ['right', 0, 1800],
    ['8 s behind', 8, 1808],
    ['2 min ahead', -120, 1740],
    ['31 min ahead', -1860, 870],
    ['59 min ahead', -3540, 30],
  ])('that is %s an SVID is renewed after half of what is left', (_, second, renewed) => {
    expect(renewal(madeAt(second))).toBe(renewed);
  });

  test('a CA that asks for less than half of what is left has its way', () => {
    expect(renewal({ ...madeAt(-600), renewAfter: seconds(after(-300)) })).toBe(300);
  });

  test('a CA that does not tell its time is believed as before', () => {
    expect(renewal({ ...madeAt(-1860), now: 0n })).toBe(-60);
  });

  test('one warning names the skew and its direction, until the clocks agree again', () => {
    const warned: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, says: string) => void warned.push(says) };
    const skew = new SkewWarning(log);
    for (const seconds of [60, 61, 61, 0, 3000, undefined, 3000, -10, -11, -90]) skew.hear(seconds);
    const says = (skewed: string) => `this machine's clock is ${skewed} the CA's: set the clock`;
    expect(warned).toEqual(['61 s ahead of', '3000 s ahead of', '11 s behind'].map(says));
    expect(() => accept(madeAt(90))).toThrow(/90 s behind the CA's: a certificate is not valid before/);
  });
});

/** A CA that says what a test tells it to. */
class FakeCall extends EventEmitter {
  readonly written: AttestRequest[] = [];
  cancelled = false;
  readonly #reply: (request: AttestRequest, call: FakeCall) => void;
  constructor(reply: (request: AttestRequest, call: FakeCall) => void) {
    super();
    this.#reply = reply;
  }
  write(request: AttestRequest): void {
    this.written.push(request);
    queueMicrotask(() => this.#reply(request, this));
  }
  say(message: NonNullable<AttestResponse['message']>): void {
    this.emit('data', { message });
  }
  cancel(): void {
    this.cancelled = true;
    this.emit('error', Object.assign(new Error('cancelled'), { code: 1, details: 'cancelled' }));
  }
}

const clientOf = (call: FakeCall) => ({ attest: () => call }) as unknown as AttestationClient;

interface Begun {
  readonly source: EvidenceSource;
  readonly seen: string[];
}

function evidenceOf(end: () => Promise<void> = async () => {}): Begun {
  const seen: string[] = [];
  const source: EvidenceSource = {
    platform: 'test',
    async begin(spki) {
      seen.push(`begin ${spki.length}`);
      return {
        opening: Buffer.from('opening'),
        async answer(question, binding) {
          seen.push(`answer ${Buffer.from(question)} ${hex(binding)}`);
          return Buffer.from('evidence');
        },
        async end() {
          seen.push('end');
          await end();
        },
      };
    },
    async close() {},
  };
  return { source, seen };
}

const instance = Buffer.alloc(16, 7);
const nonce = Buffer.alloc(32, 9);
const requestWith = (evidence: EvidenceSource, signal = AbortSignal.timeout(60_000)): ObtainRequest => ({
  evidence,
  bundle,
  id,
  instance,
  clock,
  signal,
});

/** Challenges, then certifies the key of the CSR. */
function honest(request: AttestRequest, call: FakeCall, certify = certifiedNow): void {
  const { message } = request;
  if (message?.$case === 'hello') {
    call.say({ $case: 'challenge', value: { nonce, question: Buffer.from('question') } });
    return;
  }
  const [hello] = call.written;
  if (hello?.message?.$case !== 'hello') return;
  const { spki } = verifyCsr(hello.message.value.csr);
  call.say({ $case: 'issued', value: certify(spki) });
}
const certifiedNow = (spki: Uint8Array): Issued => issuedOf(makeLeaf(id, root, { fields: { spki } }));

/** Of a CA whose clock is `seconds` ahead of this one. */
const ahead =
  (seconds: number): typeof honest =>
  (request, call) =>
    honest(request, call, (spki) => {
      const fields = { spki, notBefore: after(seconds - 10), notAfter: after(seconds + 3600) };
      const issued = issuedOf(makeLeaf(id, root, { fields }), after(seconds + 1800));
      return { ...issued, now: unixSeconds(after(seconds)) };
    });

describe('the exchange', () => {
  test('says hello, answers the challenge, and takes the certificate', async () => {
    const call = new FakeCall(honest);
    const { source, seen } = evidenceOf();
    const svid = await join(clientOf(call), requestWith(source));
    const [hello, evidence] = call.written.map(({ message }) => message);
    expect(hello).toMatchObject({
      $case: 'hello',
      value: { platform: 'test', evidence: Buffer.from('opening'), spiffeId: id, instance },
    });
    expect(evidence).toEqual({ $case: 'evidence', value: { nonce, evidence: Buffer.from('evidence') } });
    const binding = hex(attestationBinding(trustDomain, nonce, spkiOf(svid.key)));
    expect(seen).toEqual(['begin 91', `answer question ${binding}`, 'end']);
    expect(svid.id).toBe(id);
    expect(call.cancelled).toBe(true);
  });

  test('with a key from elsewhere certifies that one, and verifies the answer by the bundle that was learnt from it', async () => {
    const call = new FakeCall(honest);
    const learnt: string[] = [];
    const request = requestWith(evidenceOf().source);
    const learn = async (authorities: readonly Uint8Array[]) => {
      learnt.push(...authorities.map(hex));
      return { ...request.bundle, authorities };
    };
    const other = { ...request.bundle, authorities: [makeAuthority('Other Root').certificate.der] };
    const asking = { ...request, bundle: other, learn };
    const certified = await joinWith(clientOf(call), signerOf(key), asking);
    expect(certified.id).toBe(id);
    expect(learnt).toEqual([hex(root.certificate.der)]);
    const [hello] = call.written;
    expect(hello?.message?.$case === 'hello' && hex(verifyCsr(hello.message.value.csr).spki)).toBe(
      hex(spkiOf(key)),
    );
  });

  test.each([
    ['45 s', 45, 35],
    ['11 s', 11, 1],
    ['70 s', 70, 60],
  ])(
    'I332 by a clock that is %s behind, the certificate is used once it is valid',
    async (_, behind, waits) => {
      const manual = new ManualClock(NOW);
      const told: string[] = [];
      const { source, seen } = evidenceOf();
      const skew = new SkewWarning(silentLog);
      const onWait = (why: Error) => void told.push(why.message);
      const joining = join(clientOf(new FakeCall(ahead(behind))), {
        ...requestWith(source),
        ...{ clock: manual, skew, onWait },
      });
      await vi.waitFor(() => expect(manual.sleeping).toBe(1));
      // The device of the evidence does not wait.
      expect(seen.at(-1)).toBe('end');
      expect(skew.seconds()).toBe(-behind);
      const begins = after(waits).toISOString();
      expect(told).toEqual([
        `this machine's clock is ${behind} s behind the CA's: the certificate is not valid before ${begins}, ` +
          'and is used then',
      ]);
      manual.advanceTo(after(waits));
      expect((await joining).notBefore).toEqual(after(waits));
    },
  );

  test('I332 one that is more than a minute from being valid is refused, with the difference', async () => {
    const manual = new ManualClock(NOW);
    const joining = join(clientOf(new FakeCall(ahead(90))), {
      ...requestWith(evidenceOf().source),
      clock: manual,
    });
    await expect(joining).rejects.toThrow(/clock is 90 s behind the CA's: a certificate is not valid before/);
    expect(manual.sleeping).toBe(0);
  });

  test('two keys are never the same', async () => {
    const keys = await Promise.all(
      [0, 1].map(() => join(clientOf(new FakeCall(honest)), requestWith(evidenceOf().source))),
    );
    expect(hex(spkiOf(keys[0]?.key ?? key))).not.toBe(hex(spkiOf(keys[1]?.key ?? key)));
  });

  test('a key stays until it is certified, and no longer: a token may be bound to it', async () => {
    const { source } = evidenceOf();
    const keys: string[] = [];
    const attempt = async (reply: typeof honest): Promise<void> => {
      const call = new FakeCall(reply);
      await join(clientOf(call), requestWith(source)).catch(() => {});
      const [hello] = call.written;
      if (hello?.message?.$case === 'hello') keys.push(hex(verifyCsr(hello.message.value.csr).spki));
    };
    await attempt((_, call) => call.emit('end'));
    await attempt(honest);
    await attempt(honest);
    const [refused, certified, next] = keys;
    expect(certified).toBe(refused);
    expect(next).not.toBe(certified);
  });

  test.each<readonly [string, (call: FakeCall) => void, string, string]>([
    ['an end without a certificate', (call) => call.emit('end'), 'unavailable', 'ended the exchange without'],
    [
      'a message that says nothing',
      (call) => call.emit('data', {}),
      'message_parse',
      'neither challenge nor issued',
    ],
    [
      'a refusal',
      (call) => call.emit('error', Object.assign(new Error(), { code: 7, details: 'no identity is given' })),
      'refused_by_ca',
      'the CA refused (PERMISSION_DENIED): no identity is given',
    ],
    ...([1, 4, 14] as const).map(
      (code) =>
        [
          `a CA that is away (status ${code})`,
          (call: FakeCall) => call.emit('error', Object.assign(new Error(), { code, details: 'nobody' })),
          'unavailable',
          'the CA does not answer: nobody',
        ] as const,
    ),
  ])('%s ends it, and frees the device', async (_, reply, code, says) => {
    const call = new FakeCall((__, self) => reply(self));
    const { source, seen } = evidenceOf();
    const attempt = join(clientOf(call), requestWith(source));
    await expect(attempt).rejects.toMatchObject({ code, message: expect.stringContaining(says) });
    expect(seen.at(-1)).toBe('end');
    expect(call.cancelled).toBe(true);
  });

  test('T38 evidence that cannot be given is the error, not what happens to the device after it', async () => {
    const gone = new IdentityError('tpm_device', 'the TPM does not answer');
    const { source } = evidenceOf(async () => Promise.reject(new Error('cannot flush')));
    const begin: EvidenceSource['begin'] = async (spki, signal) => ({
      ...(await source.begin(spki, signal)),
      answer: () => Promise.reject(gone),
    });
    const call = new FakeCall(honest);
    await expect(join(clientOf(call), requestWith({ ...source, begin }))).rejects.toBe(gone);
    expect(call.cancelled).toBe(true);
  });

  test('an abort cancels the call', async () => {
    const stop = new AbortController();
    const call = new FakeCall(() => stop.abort());
    const attempt = join(clientOf(call), requestWith(evidenceOf().source, stop.signal));
    await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
    expect(call.cancelled).toBe(true);
  });
});
