/** A clock that leaps in the middle of a rotation, at each of its stages: and is set right, or was right all along. */
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { INTERMEDIATE_TTL, proven, ROOT_TTL } from '../../../test/kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { after } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { issue } from '../authority/issue.ts';
import { openRotation, type Rotation } from './rotation.ts';
import type { StepOrder } from './status.ts';
import { steadyClock } from './steady.ts';

const ID = parseSpiffeId('spiffe://prod.example/web');
const BY = 'uid 0';
const HURRIED: StepOrder = { without: [], everybody: true, reason: 'the clock leapt', dryRun: false };
const START = 7200;

let rpc: Rpc;
let rotation: Rotation;
/** Seconds that have passed, whatever the wall clock says. */
let passed: number;

beforeEach(async () => {
  passed = START;
  rpc = await makeRpc();
  // A leap back by an hour must not be one to before the root.
  rpc.clock.jump(after(START));
  await rpc.authorities.refresh();
  rotation = openRotation({
    ...rpc,
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: steadyClock(
      rpc.clock,
      cautiousTime(rpc.clock, () => passed * 1000),
    ),
  });
});

const issued = async (ttlSeconds = 3600) =>
  issue(
    { id: ID, platform: 'fake', node: 'n1', identity: 'web', ttlSeconds, dnsNames: [], key: await proven() },
    rpc,
  );
const verified = ({ chain }: { readonly chain: readonly Uint8Array[] }) =>
  verifySvid(chain, rpc.authorities.bundle.current(), rpc.clock.now()).id;
/** What the CA and its operator try meanwhile; some of it is refused. */
async function work(): Promise<void> {
  const refresh = () => rpc.authorities.refresh();
  const tries: readonly (() => Promise<unknown>)[] = [
    ...[refresh, () => rotation.status(), () => rotation.next(HURRIED, BY), () => issued(), refresh],
  ];
  for (const each of tries) await each().catch(() => {});
}
async function finish(): Promise<void> {
  if ((await rotation.status()).stage === 'idle') await rotation.start(BY, false);
  for (let steps = 0; (await rotation.status()).stage !== 'idle' && steps < 4; steps += 1)
    await rotation.next(HURRIED, BY);
}
const roots = async (state: string) =>
  (await rpc.store.authorities()).filter((each) => each.kind === 'root' && each.state === state).length;

const STAGES: readonly [string, () => Promise<unknown>][] = [
  ['idle', async () => {}],
  [
    'prepared',
    async () => {
      const moving = vi.spyOn(rpc.store, 'moveAuthorities').mockRejectedValueOnce(new Error('killed'));
      await rotation.start(BY, false).catch(() => {});
      moving.mockRestore();
    },
  ],
  ['published', () => rotation.start(BY, false)],
  [
    'retiring',
    async () => {
      await rotation.start(BY, false);
      await rotation.next(HURRIED, BY);
    },
  ],
];
const LEAPS: readonly [string, number][] = [
  ['an hour back', -3600],
  ['a day ahead', 86_400],
  ['a year ahead', ROOT_TTL],
  ['ten years ahead', 10 * ROOT_TTL],
];

describe.each(STAGES)('a clock that leaps while the stage is %s', (stage, reach) => {
  test.each(LEAPS)(
    '%s, and is set right: what counted still counts, and the rotation ends',
    async (_, leap) => {
      const early = await issued(86_400);
      await reach();
      expect((await rotation.status()).stage).toBe(stage);
      rpc.clock.jump(after(START + leap));
      await work();
      passed += 60;
      rpc.clock.jump(after(passed));
      await rpc.authorities.refresh();
      expect(verified(early)).toBe(ID);
      expect(verified(await issued())).toBe(ID);
      expect(await roots('removed')).toBe(0);
      // The last step waits for what the old root has signed: with the hour back, for a new certificate, too.
      passed += 2 * 86_400;
      rpc.clock.jump(after(passed));
      await rpc.authorities.refresh();
      await finish();
      expect([await roots('active'), await roots('removed')]).toEqual([1, 1]);
      expect(verified(await issued())).toBe(ID);
    },
  );

  test('and was right all along, when all but the roots has ended: the rotation ends', async () => {
    await issued();
    await reach();
    passed += 10 * INTERMEDIATE_TTL;
    rpc.clock.jump(after(passed));
    await rpc.authorities.refresh();
    await finish();
    expect([await roots('active'), await roots('removed')]).toEqual([1, 1]);
    expect(verified(await issued())).toBe(ID);
  });
});

test('a year ahead nothing is removed that cannot come back, and the refusal says why', async () => {
  await rotation.start(BY, false);
  await rotation.next(HURRIED, BY);
  rpc.clock.jump(after(START + ROOT_TTL - 60));
  await expect(rotation.next(HURRIED, BY)).rejects.toThrow(
    refusal('rotation', /^this machine's clock went ahead/),
  );
  expect(await roots('retiring')).toBe(1);
});
