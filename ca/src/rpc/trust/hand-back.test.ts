/** I226, I238, I287: what a peer hands back in parts, what one costs that lies, who goes first, and who counts. */
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import * as grpc from '@grpc/grpc-js';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  applied,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import type { Bringer, Handed } from '../../recovery/recovery.ts';
import { handBack } from './hand-back.ts';

const revoked = (number: number) => ({
  ...{ number: BigInt(number), kind: 'id', value: `spiffe://prod.example/gone${number}` },
  ...{ serials: [], reason: 'keyCompromise', until: 0n },
});
const parts = (list: readonly ReturnType<typeof revoked>[], note = '') => ({
  revocations: { sequence: 0n, note, list: [...list], since: 0n, gone: [] },
  checkpoint: '',
});

let rpc: Rpc;
let handled: ReturnType<ReturnType<typeof handBack>>;
let wanted: number;
let taken: Handed[];
let bringers: Bringer[];
beforeEach(async () => {
  rpc = await makeRpc();
  handled = handBack(rpc)(rpc);
  [wanted, taken, bringers] = [1, [], []];
  rpc.recovery.take = (async (handed: Handed, bringer: Bringer) => {
    bringers.push(bringer);
    if (handed.list.length > 0) {
      taken.push(handed);
      wanted -= 1;
      return false;
    }
    return wanted > 0;
  }) as never;
});

function hand(caller: Parameters<typeof peerOf>[1] = stranger) {
  const call = new FakeCall(TrustService.handBack, peerOf(rpc, caller));
  call.run(handled);
  return call;
}
const answers = ({ written }: ReturnType<typeof hand>) =>
  written.map(({ wantsRevocations }) => wantsRevocations);

/** The log of the CA says it, and not the audit log. */
async function expectRate(call: ReturnType<typeof hand>): Promise<void> {
  expect(await call.failed).toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
  expect(rpc.observed.at(-1)).toBe('HandBack 0 rate');
}

test('the list comes in parts after it was asked for, and is taken whole', async () => {
  const call = hand();
  call.say(parts([], 'note'));
  await vi.waitFor(() => expect(answers(call)).toEqual([true]));
  call.say(parts([revoked(1), revoked(2)]));
  call.say(parts([revoked(3)]));
  call.emit('end');
  await vi.waitFor(() => expect(answers(call)).toEqual([true, false]));
  expect(taken).toEqual([{ note: 'note', checkpoint: '', list: [1, 2, 3].map(revoked) }]);
});

test('what is not wanted is not asked for, also where another peer brings it meanwhile', async () => {
  const [first, second] = [hand(), hand()];
  for (const each of [first, second]) each.say(parts([], 'note'));
  await vi.waitFor(() => expect(answers(first)).toEqual([true]));
  expect(answers(second)).toEqual([]);
  first.say(parts([revoked(1)]));
  first.emit('end');
  await vi.waitFor(() => expect(answers(second)).toEqual([false]));
  expect(taken).toHaveLength(1);
});

test('I226 a part that no CA has sent ends it at once', async () => {
  const call = hand();
  call.say(parts([], 'note'));
  await vi.waitFor(() => expect(answers(call)).toEqual([true]));
  call.say(parts([{ ...revoked(1), kind: '', value: '' }]));
  await expectRefused(rpc, await call.failed, 'revocation', /nothing is revoked by nothing/);
  expect(taken).toEqual([]);
});

test('I226 a list that does not come is not waited for, and one peer is asked for few of them', async () => {
  wanted = 99;
  for (let n = 0; n < 4; n += 1) {
    const call = hand();
    call.say(parts([], 'note'));
    await vi.waitFor(() => expect(answers(call)).toEqual([true]));
    call.emit('end');
    await vi.waitFor(() => expect(answers(call)).toEqual([true, false]));
  }
  const call = hand();
  call.say(parts([], 'note'));
  await expectRate(call);
});

test('I226 the rate is looked at before a message is read', async () => {
  rpc = await makeRpc([], undefined, undefined, 1);
  handled = handBack(rpc)(rpc);
  const [first, second] = [hand(), hand()];
  first.say(parts([], 'x'));
  await expectRate(second);
});

const GATEWAY = 'spiffe://prod.example/gateway';
/** Another certificate each time, as who keeps old ones has. */
let certificates = 0;
function holder(id: string): Parameters<typeof peerOf>[1] {
  certificates += 1;
  const svid = { id: parseSpiffeId(id), serial: `40${certificates}` };
  return { ...stranger, shownCertificate: true, svid: () => svid as never };
}
/** Shows its note, and brings no list. */
function lie(id: string) {
  const call = hand(holder(id));
  call.say(parts([], 'note'));
  return call;
}
const liar = (n: number) => `spiffe://prod.example/agents/liar${n}`;
const asked = (calls: readonly ReturnType<typeof hand>[]) =>
  calls.filter((call) => answers(call).includes(true)).length;
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('I238 a peer that is asked for a list and brings none gives its place away within two seconds', async () => {
  wanted = 99;
  const liars = [0, 1, 2, 3, 4, 5].map((n) => lie(liar(n)));
  await vi.waitFor(() => expect(asked(liars)).toBe(4));
  const honest = lie('spiffe://prod.example/web');
  await settle();
  expect(answers(honest)).toEqual([]);
  for (let n = 0; n < 2; n += 1) {
    rpc.clock.advanceTo(addSeconds(rpc.clock.now(), 2));
    await settle();
    await settle();
  }
  await vi.waitFor(() => expect(answers(honest)).toEqual([true]));
  expect(await liars[0]?.failed).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
});

test('I238 a SPIFFE ID has one place, whatever certificates it has', async () => {
  wanted = 99;
  const liars = [0, 0, 0, 0].map((n) => lie(liar(n)));
  const others = [1, 2, 3].map((n) => lie(liar(n)));
  await vi.waitFor(() => expect(asked(others)).toBe(3));
  expect(asked(liars)).toBe(1);
});

test('I238 a gateway goes before all that wait, however many they are', async () => {
  await applied(rpc, { kind: 'McpServer', name: 's', identity: GATEWAY, address: 'a:1' });
  wanted = 99;
  const liars = Array.from({ length: 40 }, (_, n) => lie(liar(n)));
  await vi.waitFor(() => expect(asked(liars)).toBe(4));
  const gateway = lie(GATEWAY);
  await settle();
  rpc.clock.advanceTo(addSeconds(rpc.clock.now(), 2));
  await vi.waitFor(() => expect(answers(gateway)).toEqual([true]));
  expect(asked(liars)).toBeLessThan(8);
});

test('I238 who has left while it waited takes nothing from its share', async () => {
  wanted = 99;
  const liars = [0, 1, 2, 3].map((n) => lie(liar(n)));
  await vi.waitFor(() => expect(asked(liars)).toBe(4));
  const gone = Array.from({ length: 6 }, () => lie(liar(9)));
  await settle();
  for (const each of gone) each.emit('cancelled');
  liars[0]?.emit('end');
  await settle();
  const back = lie(liar(9));
  await vi.waitFor(() => expect(answers(back)).toEqual([true]));
});

describe('I287 a peer that is revoked', () => {
  const revoke = (kind: string, value: string) =>
    rpc.revocations.revoke({
      ...{ target: parseTarget(kind, value), reason: 'keyCompromise', seconds: 0, by: 'uid 0' },
    });

  test.each(['id', 'serial'] as const)('by its %s is a stranger here', async (kind) => {
    const gateway = holder(GATEWAY);
    await revoke(kind, kind === 'id' ? GATEWAY : `40${certificates}`);
    const call = hand(gateway);
    wanted = 0;
    call.say(parts([], 'note'));
    await vi.waitFor(() => expect(answers(call)).toEqual([false]));
    expect(bringers).toMatchObject([{ id: undefined, serial: undefined }]);
  });

  test('while its list comes is a stranger when it is there', async () => {
    const call = lie(GATEWAY);
    await vi.waitFor(() => expect(answers(call)).toEqual([true]));
    await revoke('id', GATEWAY);
    call.say(parts([revoked(1)]));
    call.emit('end');
    await vi.waitFor(() => expect(answers(call)).toEqual([true, false]));
    expect(bringers.map(({ id }) => id)).toEqual([GATEWAY, GATEWAY, undefined]);
  });
});
