/** What steps do while the key of the root that signs is away, with and without a dry run. */
import { beforeEach, expect, test } from 'vitest';
import { type memoryKeys, ROOT_TTL } from '../../../test/kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { after } from '../../../test/kit/certificates.ts';
import { openRotation, type Rotation } from './rotation.ts';
import { planOf } from './taint-plan.ts';

const BY = 'uid 0';

let rpc: Rpc;
let rotation: Rotation;
beforeEach(async () => {
  rpc = await makeRpc();
  rotation = openRotation({
    ...rpc,
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => {},
  });
});

const STEPS: readonly [string, (dryRun: boolean) => Promise<unknown>][] = [
  ['rotate', (dryRun) => rotation.start(BY, dryRun)],
  ['rotate standby', (dryRun) => rotation.standBy(BY, dryRun)],
  ['rotate --intermediate', (dryRun) => rotation.renewIntermediate(BY, dryRun)],
];

test.each(STEPS)('%s makes nothing, and its dry run refuses as the step does (I218)', async (_, step) => {
  const before = await rpc.store.authorities();
  const { signers } = rpc.keys as ReturnType<typeof memoryKeys>;
  signers.delete(rpc.root.serial);
  const keys = [...signers.keys()];
  const [dry, real] = await Promise.all(
    [true, false].map((dryRun) =>
      step(dryRun).then(
        () => 'done',
        (error: Error) => error.message,
      ),
    ),
  );
  expect(dry).toMatch(/missing key|is not at hand/);
  expect(real).toBe(dry);
  expect(await rpc.store.authorities()).toEqual(before);
  expect([...signers.keys()]).toEqual(keys);
});

test('a root that has ended takes the place of none', async () => {
  const spare = (await rotation.standBy(BY, false)).standby;
  const records = await rpc.store.authorities();
  const stolen = records.find(({ serial }) => serial === rpc.root.serial);
  if (stolen === undefined || spare === undefined) throw new Error('no root');
  expect(planOf(records, stolen, rpc.clock.now()).root?.serial).toBe(spare.serial);
  expect(planOf(records, stolen, after(ROOT_TTL + 1)).root).toBeUndefined();
});
