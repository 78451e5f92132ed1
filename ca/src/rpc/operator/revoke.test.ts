/** Revocation at the CA's own door: what is refused, what is cut, and what the operator is told. */
import { randomBytes } from 'node:crypto';
import {
  AttestationService,
  type AttestRequest,
  IdentityService,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import {
  OperatorService,
  type RevokeRequest,
  type RevokeResponse,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { TrustService, type WatchRequest } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseReason, parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
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
import type { Agents } from '../../agents/agents.ts';
import type { Attestor } from '../../attestors/attestor.ts';
import type { UnixCaller } from '../caller.ts';
import { attest, issueX509, renew } from '../exchange/attestation.ts';
import { watch } from '../trust/trust.ts';
import { revokeMethods } from './revoke.ts';

const ID = 'spiffe://prod.example/web';
const operator: UnixCaller = {
  via: 'admin',
  address: 'uid 0',
  peer: { pid: 1, uid: 0, gid: 0, ensureStillThere() {}, close() {} },
};
const fake: Attestor = {
  type: 'fake',
  attest: async (_, turn) => {
    await turn.challenge(Buffer.alloc(0));
    return { node: 'n1', attributes: {}, exclusive: false };
  },
};

let rpc: Rpc;
let csr: Buffer;
beforeEach(async () => {
  rpc = await makeRpc([fake]);
  await applied(rpc, { kind: 'Identity', name: 'web', platform: 'fake', id: ID });
  csr = Buffer.from(await writeCsr(signerOf(generateKey())));
});

const revoked = (kind: string, value: string) =>
  rpc.revocations.revoke({
    target: parseTarget(kind, value),
    reason: parseReason('keyCompromise'),
    seconds: 0,
    by: 'the test',
  });
const hello = (): AttestRequest => ({
  message: {
    $case: 'hello',
    value: {
      platform: 'fake',
      csr,
      evidence: Buffer.alloc(0),
      spiffeId: '',
      instance: randomBytes(16),
      succeeds: undefined,
      now: 0n,
    },
  },
});
type Exchange = FakeCall<typeof AttestationService.attest>;

async function challenged(call: Exchange): Promise<Buffer> {
  const { message } = await call.next();
  if (message?.$case !== 'challenge') throw new Error('no challenge came');
  return message.value.nonce;
}
const answer = (call: Exchange, nonce: Buffer) =>
  call.say({ message: { $case: 'evidence', value: { nonce, evidence: Buffer.alloc(0) } } });

/** One of each way to name what `certifiedCaller` and the attestor above are. */
const ways = [
  ['id', () => ID],
  ['pattern', () => 'spiffe://prod.example/*'],
  ['node', () => 'fake/n1'],
] as const;
const everyWay = [['serial', (serial: string) => serial], ...ways] as const;

describe.each(everyWay)('a certificate revoked by %s', (kind, naming) => {
  const detail = new RegExp(`^${ID}: revocation 1 \\(${kind} `);
  async function caller() {
    const { caller: certified, issued } = await certifiedCaller(rpc);
    return { certified, revoke: () => revoked(kind, naming(issued.serial)) };
  }

  test('begins no renewal', async () => {
    const { certified, revoke } = await caller();
    await revoke();
    const call = new FakeCall(AttestationService.attest, peerOf(rpc, certified));
    call.run(renew(rpc)(rpc));
    call.say(hello());
    await expectRefused(rpc, await call.failed, 'revoked_peer', detail);
    expect(call.written).toEqual([]);
  });

  test('ends no renewal that it began before', async () => {
    const { certified, revoke } = await caller();
    const call = new FakeCall(AttestationService.attest, peerOf(rpc, certified));
    call.run(renew(rpc)(rpc));
    call.say(hello());
    const nonce = await challenged(call);
    await revoke();
    answer(call, nonce);
    await expectRefused(rpc, await call.failed, 'revoked_peer', detail);
  });

  test('gets no more certificates', async () => {
    const { certified, revoke } = await caller();
    await revoke();
    const request = IdentityService.issueX509.requestSerialize({
      csrs: [csr],
      succeeds: Buffer.alloc(0),
      scope: '',
    });
    const { error } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, certified), request);
    await expectRefused(rpc, error, 'revoked_peer', detail);
  });

  test('opens no stream, and the open one is ended at once', async () => {
    const { certified, revoke } = await caller();
    const greeting: WatchRequest = {
      message: { $case: 'hello', value: { instance: randomBytes(16), version: '1' } },
    };
    const open = new FakeCall(TrustService.watch, peerOf(rpc, certified));
    open.run(watch(rpc)(rpc));
    open.say(greeting);
    await open.next();
    const late = new FakeCall(TrustService.watch, peerOf(rpc, certified));
    late.run(watch(rpc)(rpc));
    await vi.waitFor(() => expect(rpc.agents.size).toBe(1));
    await revoke();
    await expectRefused(rpc, await open.failed, 'revoked_peer', detail);
    await vi.waitFor(() => expect(rpc.agents.size).toBe(0));
    // It had shown its certificate before, but not yet said hello.
    late.say(greeting);
    await expectRefused(rpc, await late.failed, 'revoked_peer', detail);
    const again = new FakeCall(TrustService.watch, peerOf(rpc, certified));
    again.run(watch(rpc)(rpc));
    await expectRefused(rpc, await again.failed, 'revoked_peer', detail);
  });
});

describe('joining', () => {
  function joining() {
    const call = new FakeCall(AttestationService.attest, peerOf(rpc, stranger));
    call.run(attest(rpc)(rpc));
    call.say(hello());
    return call;
  }

  test.each(ways)('is refused to what is revoked by %s', async (kind, naming) => {
    const call = joining();
    const nonce = await challenged(call);
    await revoked(kind, naming());
    answer(call, nonce);
    await expectRefused(
      rpc,
      await call.failed,
      'revoked_identity',
      new RegExp(`^${ID}: revocation 1 \\(${kind} `),
    );
    expect(await rpc.store.issued({ limit: 9, id: ID as never })).toEqual([]);
  });

  test('is open to a workload that has had a certificate revoked', async () => {
    const { issued } = await certifiedCaller(rpc);
    await revoked('serial', issued.serial);
    const call = joining();
    answer(call, await challenged(call));
    expect((await call.next()).message?.$case).toBe('issued');
  });
});

describe('a caller that is revoked after the first look at it', () => {
  /** As if the revocation had come after so many looks. */
  const blindFor = (looks: number): void => {
    const look = vi.spyOn(rpc.revocations, 'ensureGood');
    for (let n = 0; n < looks; n += 1) look.mockImplementationOnce(() => {});
  };

  test('gets no more certificates', async () => {
    const { caller } = await certifiedCaller(rpc);
    await revoked('id', ID);
    blindFor(1);
    const request = IdentityService.issueX509.requestSerialize({
      csrs: [csr],
      succeeds: Buffer.alloc(0),
      scope: '',
    });
    const { error } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), request);
    await expectRefused(rpc, error, 'revoked_peer', /revocation 1/);
  });

  test.each(everyWay)('by %s is not renewed at the last moment', async (kind, naming) => {
    const { caller, issued } = await certifiedCaller(rpc);
    await revoked(kind, naming(issued.serial));
    blindFor(3);
    const call = new FakeCall(AttestationService.attest, peerOf(rpc, caller));
    call.run(renew(rpc)(rpc));
    call.say(hello());
    answer(call, await challenged(call));
    await expectRefused(rpc, await call.failed, 'revoked_peer', /revocation 1/);
  });
});

test('a stream of another identity stays open', async () => {
  const { caller } = await certifiedCaller(rpc);
  const call = new FakeCall(TrustService.watch, peerOf(rpc, caller));
  call.run(watch(rpc)(rpc));
  call.say({ message: { $case: 'hello', value: { instance: randomBytes(16), version: '1' } } });
  await vi.waitFor(() => expect(rpc.agents.size).toBe(1));
  await revoked('id', `${ID}2`);
  expect([rpc.agents.size, call.ended.mock.calls.length]).toEqual([1, 0]);
});

describe('the operator', () => {
  let progress: MockInstance<Agents['onProgress']>;
  beforeEach(() => {
    progress = vi.spyOn(rpc.agents, 'onProgress');
  });

  async function ask(changes: Partial<RevokeRequest>): Promise<RevokeResponse> {
    const request = {
      kind: 'id',
      value: ID,
      reason: 'keyCompromise',
      seconds: 0n,
      dryRun: false,
      force: false,
      ...changes,
    };
    const handled = revokeMethods(rpc.operator).map((each) => each(rpc))[0];
    if (handled === undefined) throw new Error('there is no Revoke');
    const bytes = OperatorService.revoke.requestSerialize(request);
    const answer = callUnary(handled, peerOf(rpc, operator), bytes);
    const { error, response } = await (request.dryRun ? answer : passing(answer));
    if (error !== null) throw new Error(error.details);
    return response as RevokeResponse;
  }
  /** The agents of these tests acknowledge nothing, so the answer comes after a second. */
  async function passing<T>(answer: Promise<T>): Promise<T> {
    const state = { answered: false };
    const answered = answer.finally(() => {
      state.answered = true;
    });
    while (!state.answered) {
      await new Promise((resolve) => setImmediate(resolve));
      const waits = progress.mock.results.some(({ type }) => type === 'return');
      if (waits) rpc.clock.advanceTo(addSeconds(rpc.clock.now(), 1));
      progress.mockClear();
    }
    return answered;
  }
  async function connected() {
    const { caller, issued } = await certifiedCaller(rpc);
    const call = new FakeCall(TrustService.watch, peerOf(rpc, caller));
    call.run(watch(rpc)(rpc));
    call.say({ message: { $case: 'hello', value: { instance: randomBytes(16), version: '1' } } });
    await vi.waitFor(() => expect(rpc.agents.size).toBe(1));
    return { issued, call };
  }

  test.each(everyWay)('gets what a revocation by %s cuts off', async (kind, naming) => {
    const { issued, call } = await connected();
    const value = naming(issued.serial);
    const matched = { certificates: 1n, certificatesAtLeast: false, agents: 1n, spiffeIds: [ID] };
    expect(await ask({ kind, value, dryRun: true })).toEqual({ revocation: undefined, value, ...matched });
    expect(rpc.revocations.standing()).toEqual([]);
    expect(call.ended).not.toHaveBeenCalled();
    const answered = await ask({ kind, value, seconds: 60n });
    expect(answered).toMatchObject({
      revocation: { number: 1n, kind, value, reason: 'keyCompromise', by: 'uid 0 by the admin socket' },
      ...matched,
      unacknowledged: { connected: 0n, away: 0n },
    });
    expect((answered.revocation?.until ?? 0n) - (answered.revocation?.at ?? 0n)).toBe(60n);
    await call.failed;
  });

  test('is warned if it cuts off nobody', async () => {
    await connected();
    const cut = { certificates: 0n, agents: 0n, spiffeIds: [] };
    expect(await ask({ value: `${ID}2` })).toMatchObject({
      ...cut,
      unacknowledged: { connected: 1n, names: [`${ID} (fake/n1)`], away: 0n },
    });
  });

  test('revokes the only certificate with a serial that begins like this', async () => {
    const { issued } = await connected();
    const begun = { kind: 'serial', value: issued.serial.slice(0, 9) };
    expect(await ask({ ...begun, dryRun: true })).toMatchObject({ value: issued.serial, certificates: 1n });
    const { revocation } = await ask(begun);
    expect(revocation).toMatchObject({ kind: 'serial', value: issued.serial });
  });

  test('revokes a serial of another CA by force, and by nothing else', async () => {
    await connected();
    const foreign = { kind: 'serial', value: '4F:12' };
    const unknown =
      /^no certificate with serial 4F:12 was issued by this CA: see chancery-ca issued; --force revokes/;
    await expect(ask(foreign)).rejects.toThrow(unknown);
    await expect(ask({ ...foreign, dryRun: true })).rejects.toThrow(unknown);
    expect(rpc.revocations.standing()).toEqual([]);
    expect(await ask({ ...foreign, force: true })).toMatchObject({ value: '4f12', certificates: 0n });
  });

  test.each<[Partial<RevokeRequest>, RegExp]>([
    [{ kind: 'serial', value: 'web' }, /^"web" is not a serial in hexadecimal/],
    [{ kind: 'serial', value: '' }, /^"" is not a serial in hexadecimal/],
    [{ kind: 'name' }, /^nothing is revoked by name$/],
    [{ value: 'web' }, /^SPIFFE ID does not start/],
    [{ value: 'spiffe://other.example/web' }, /is not of trust domain prod\.example$/],
    [{ reason: '' }, /^"" is not a reason/],
    [{ seconds: 1n << 63n }, /seconds are too long/],
  ])('may not ask for %o', async (changes, message) => {
    await expect(ask(changes)).rejects.toThrow(message);
    expect(rpc.revocations.standing()).toEqual([]);
  });
});
