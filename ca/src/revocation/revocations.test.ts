import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Issuance } from '../store/store.ts';
import type { RevocationOrder } from './draft.ts';
import { openRevocations, type Revocations } from './revocations.ts';

const ID = parseSpiffeId('spiffe://prod.example/web');
const OTHER = parseSpiffeId('spiffe://prod.example/other');
const fence = { type: 'agent.acknowledged', id: ID, sequence: 1 } as const;
const issuance: Issuance = {
  serial: '40aa',
  id: ID,
  platform: 'fake',
  node: 'n1',
  identity: 'web',
  keySha256: Buffer.alloc(32, 1),
  issuer: '40bb',
  notBefore: NOW,
  notAfter: after(60),
};
const keyOf = (n: number) => ({ keySha256: Buffer.alloc(32, n) });
const peer = { id: ID, serial: '40aa', node: { platform: 'fake', node: 'n1' } };

let deps: Awaited<ReturnType<typeof makeAuthorities>>;
let revocations: Revocations;
beforeEach(async () => {
  deps = await makeAuthorities();
  await deps.store.record(issuance, fence);
  revocations = await openRevocations(deps);
});

const order = (kind: string, value: string, changes: Partial<RevocationOrder> = {}): RevocationOrder => ({
  target: parseTarget(kind, value),
  reason: 'keyCompromise',
  seconds: 0,
  by: 'uid 0',
  ...changes,
});
const ensureGood = (changes: object = {}) => revocations.ensureGood({ ...peer, ...changes }, 'revoked_peer');
const revoked = refusal('revoked_peer', /^spiffe:\/\/prod.example\/web: revocation 1 \(/);

describe('a revocation', () => {
  test('is on record with its audit entry, and in force across a restart', async () => {
    const made = await revocations.revoke(order('id', ID));
    expect(made).toEqual({
      number: 1,
      target: { kind: 'id', value: ID },
      serials: [],
      reason: 'keyCompromise',
      by: 'uid 0',
      at: NOW,
      until: undefined,
    });
    expect(() => ensureGood()).toThrow(revoked);
    revocations = await openRevocations(deps);
    expect(revocations.standing()).toEqual([made]);
    expect(revocations.sets.current().sequence).toBe(2n);
    expect(() => ensureGood()).toThrow(revoked);
    expect((await deps.store.events(0, 100)).at(-1)?.event).toEqual({
      type: 'revocation.made',
      number: 1,
      target: { kind: 'id', value: ID },
      reason: 'keyCompromise',
      by: 'uid 0',
    });
  });

  test('that is lifted is over, across a restart too, and its number is not given again', async () => {
    await revocations.revoke(order('id', ID));
    await revocations.lift(1, 'uid 7');
    ensureGood();
    revocations = await openRevocations(deps);
    ensureGood();
    expect(revocations.sets.current()).toMatchObject({ list: [], sequence: 3n });
    expect((await deps.store.events(0, 100)).at(-1)?.event).toEqual({
      type: 'revocation.lifted',
      number: 1,
      target: { kind: 'id', value: ID },
      by: 'uid 7',
    });
    expect(await revocations.revoke(order('id', ID))).toMatchObject({ number: 2 });
    expect(revocations.sets.current().sequence).toBe(4n);
  });

  test.each<[string, string, readonly string[]]>([
    ['id', ID, ['id', 'id', 'pattern']],
    ['serial', '40aa', ['id', 'serial', 'id', 'node', 'pattern']],
    ['node', 'fake/n1', ['node']],
    ['pattern', 'spiffe://prod.example/**', ['pattern']],
    ['pattern', 'spiffe://prod.example/other/*', []],
  ])('others that cut off all of %s %s are told, and no more', async (kind, value, kinds) => {
    const all = [
      ...[order('id', ID), order('serial', '40aa'), order('id', ID), order('id', `${ID}2`)],
      ...[order('node', 'fake/n1'), order('node', 'fake/n2')],
      ...[order('pattern', 'spiffe://prod.example/**'), order('pattern', 'spiffe://prod.example/api/*')],
    ];
    for (const each of all) await revocations.revoke(each);
    const also = await revocations.alsoCutOff(parseTarget(kind, value));
    expect(also.map(({ target }) => target.kind)).toEqual(kinds);
  });

  test.each([0, 2])('%i is not there to be lifted', async (number) => {
    await revocations.revoke(order('id', ID));
    await expect(revocations.lift(number, 'uid 0')).rejects.toThrow(
      refusal('revocation', /^there is no revocation \d in force$/),
    );
    expect(revocations.standing()).toHaveLength(1);
  });

  test('ends at its end, and is neither loaded nor lifted then', async () => {
    const { until } = await revocations.revoke(order('id', ID, { seconds: 30 }));
    expect(until).toEqual(after(30));
    deps.clock.jump(after(30));
    ensureGood();
    expect(revocations.standing()).toEqual([]);
    await expect(revocations.lift(1, 'uid 0')).rejects.toThrow(
      refusal('revocation', /there is no revocation 1/),
    );
    expect((await openRevocations(deps)).sets.current()).toMatchObject({ list: [], sequence: 2n });
  });

  test.each(['revoked', 'lifted', 'made by another room'])(
    'I207 counts again where a clock that was a year ahead is set right, though another was %s meanwhile',
    async (change) => {
      revocations = await openRevocations({ ...deps, cautious: () => NOW });
      await revocations.revoke(order('id', ID, { seconds: 30 }));
      const forEver = await revocations.revoke(order('id', OTHER));
      deps.clock.jump(after(365 * 86_400));
      ensureGood();
      const node = order('node', 'fake/n2');
      if (change === 'lifted') await revocations.lift(forEver.number, 'uid 0');
      else if (change === 'revoked') await revocations.revoke(node);
      else await revocations.change(() => deps.store.revoke({ ...node, until: undefined }, 10));
      deps.clock.jump(after(10));
      expect(() => ensureGood()).toThrow(revoked);
    },
  );

  test.each([
    [0, 60],
    [30, 30],
    [90, 60],
  ])('of a serial, asked for %i s, ends with its certificate', async (seconds, end) => {
    const { until } = await revocations.revoke(order('serial', '40aa', { seconds }));
    expect(until).toEqual(after(end));
  });

  test('of a serial that nothing has on record has the end that was asked for', async () => {
    expect(await revocations.revoke(order('serial', '40ff'))).toMatchObject({ until: undefined });
  });

  test('of a certificate that has ended is refused', async () => {
    deps.clock.jump(after(60));
    await expect(revocations.revoke(order('serial', '40aa'))).rejects.toThrow(
      refusal('revocation', /^certificate 40aa of .*\/web ended at .* by itself$/),
    );
  });

  test('of another trust domain is refused', async () => {
    await expect(revocations.revoke(order('id', 'spiffe://other.example/web'))).rejects.toThrow(
      refusal('revocation', /is not of trust domain prod\.example$/),
    );
  });

  test.each([
    ['id', 'spiffe://prod.example/chancery/ca'],
    ['pattern', 'spiffe://prod.example/chancery/**'],
    ['node', 'self/ca'],
  ])('I50 of the CA’s own names by %s %s is refused', async (kind, value) => {
    await expect(revocations.revoke(order(kind, value))).rejects.toThrow(
      refusal('revocation', /^the names of the CA are not revoked; revoke its certificate by serial/),
    );
  });

  test('of the CA’s certificate by its serial counts it', async () => {
    const id = parseSpiffeId('spiffe://prod.example/chancery/ca');
    await deps.store.record(
      { ...issuance, id, serial: '40ca', platform: 'self', node: 'ca', ...keyOf(2) },
      fence,
    );
    await revocations.revoke(order('serial', '40ca'));
    expect(await revocations.matched(order('serial', '40ca'))).toMatchObject({ certificates: 1, ids: [id] });
  });

  test('by a pattern does not count the CA itself', async () => {
    const id = parseSpiffeId('spiffe://prod.example/chancery/ca');
    await deps.store.record(
      { ...issuance, id, serial: '40ca', platform: 'self', node: 'ca', ...keyOf(2) },
      fence,
    );
    expect(await revocations.matched(order('pattern', 'spiffe://prod.example/**'))).toMatchObject({
      certificates: 1,
    });
  });

  test('is one of ten thousand at most', async () => {
    const revoke = vi.spyOn(deps.store, 'revoke');
    await revocations.revoke(order('id', ID));
    // The store counts those in force, within the transaction.
    expect(revoke).toHaveBeenCalledWith(expect.objectContaining({ by: 'uid 0' }), 10_000);
  });
});

describe('a node', () => {
  test('is revoked with its unexpired certificates by serial, across a restart too', async () => {
    await deps.store.record({ ...issuance, serial: '40ab', node: 'n2', ...keyOf(2) }, fence);
    await deps.store.record(
      { ...issuance, serial: '40ac', platform: 'fake+tpm', node: 'n1+n9', ...keyOf(3) },
      fence,
    );
    await deps.store.record({ ...issuance, serial: '40ad', notAfter: NOW }, fence);
    const made = await revocations.revoke(order('node', 'fake/n1'));
    expect(made.serials.toSorted()).toEqual(['40aa', '40ac']);
    expect((await openRevocations(deps)).standing()).toEqual([made]);
  });

  test('and a certificate are revoked with what came of them', async () => {
    await deps.store.record({ ...issuance, serial: '40ab', origin: '40aa' }, fence);
    await deps.store.record({ ...issuance, serial: '40ac', node: 'n2', ...keyOf(2) }, fence);
    const made = await revocations.revoke(order('serial', '40aa'));
    expect(made.serials).toEqual(['40ab']);
    expect((await openRevocations(deps)).standing()).toEqual([made]);
    expect(() => ensureGood({ serial: '40ab', node: undefined })).toThrow(revoked);
    expect(() => ensureGood({ serial: '40ad', origin: '40aa' })).toThrow(revoked);
    ensureGood({ serial: '40ac' });
    expect(await revocations.matched(order('serial', '40aa'))).toMatchObject({ certificates: 2 });
  });

  test('gets no certificate by a race: what was not refused is among its serials', async () => {
    const revoking = revocations.revoke(order('node', 'fake/n1'));
    const serials: string[] = [];
    const issuing: Promise<void>[] = [];
    // Whatever the event loop does between the order and its end, an exchange may do too.
    for (let n = 0; n < 50; n += 1) {
      try {
        ensureGood({ serial: undefined });
        serials.push(`41${n.toString(16).padStart(2, '0')}`);
        issuing.push(deps.store.record({ ...issuance, serial: serials.at(-1) ?? '' }, fence));
      } catch (error) {
        expect(error).toMatchObject({ code: 'revoked_peer' });
      }
      await Promise.resolve();
    }
    const made = await revoking;
    await Promise.all(issuing);
    expect(serials.length).toBeLessThan(50);
    expect(made.serials.toSorted()).toEqual(['40aa', ...serials]);
  });
});

describe('listeners', () => {
  test('hear of it when it is durable, and the peer is refused before', async () => {
    const heard = vi.fn();
    revocations.sets.onChange(heard);
    const revoking = revocations.revoke(order('id', ID));
    // Too few turns for the disk, which answers in another one of the event loop.
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    expect(() => ensureGood()).toThrow(refusal('revoked_peer', /revocation 0/));
    expect(heard).not.toHaveBeenCalled();
    await revoking;
    expect(heard).toHaveBeenCalledOnce();
  });

  test('are not called for a revocation that could not be written, and the peer is good again', async () => {
    vi.spyOn(deps.store, 'revoke').mockRejectedValueOnce(new Error('the disk is full'));
    await expect(revocations.revoke(order('id', ID))).rejects.toThrow('the disk is full');
    ensureGood();
    expect(revocations.sets.current().sequence).toBe(0n);
  });
});

describe('a change of the store by another room', () => {
  const elsewhere = () => deps.store.revoke({ ...order('id', OTHER), until: undefined }, 10);

  test('I205 beside a revocation: each set has all that is on record, and a number of its own', async () => {
    const seen: [bigint, number][] = [];
    revocations.sets.onChange(({ sequence, list }) => seen.push([sequence, list.length]));
    await Promise.all([
      revocations.change(async () => {
        await elsewhere();
        for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
      }),
      revocations.revoke(order('id', ID)),
    ]);
    await revocations.change(async () => {});
    expect(seen).toEqual([[3n, 2]]);
  });

  test('I205 that takes long after its write holds up no revocation, and is in force with the next one', async () => {
    const slow = Promise.withResolvers<void>();
    const changing = revocations.change(elsewhere, () => slow.promise);
    await revocations.revoke(order('id', ID));
    for (const id of [ID, OTHER]) expect(() => ensureGood({ id, serial: undefined })).toThrow(/revocation/);
    slow.resolve();
    await changing;
    expect(revocations.sets.current().list).toHaveLength(2);
  });

  test('I205 while it is being written, what is asked for behind it counts already', async () => {
    const slow = Promise.withResolvers<void>();
    const changing = revocations.change(() => slow.promise);
    const revoked = revocations.revoke(order('id', ID));
    await vi.waitFor(() => expect(() => ensureGood()).toThrow(refusal('revoked_peer', /revocation/)));
    slow.resolve();
    await Promise.all([changing, revoked]);
  });

  test('is put in force also where what follows it fails', async () => {
    const failing = revocations.change(async () => {
      await elsewhere();
      throw new Error('the bundle could not be read');
    });
    await expect(failing).rejects.toThrow('the bundle could not be read');
    expect(() => ensureGood({ id: OTHER, serial: undefined })).toThrow(
      refusal('revoked_peer', /revocation 1/),
    );
  });

  test('I205 that cannot be read: everybody is refused until it can', async () => {
    const reads = vi.spyOn(deps.store, 'revocations').mockRejectedValueOnce(new Error('busy'));
    await expect(revocations.change(elsewhere)).rejects.toThrow('busy');
    for (let asked = 0; asked < 10; asked += 1)
      expect(() => ensureGood()).toThrow(refusal('store', /could not be read/));
    // Open streams ask as they hear of it, and those of good peers go on.
    const cut: unknown[] = [];
    revocations.sets.onChange(() => {
      try {
        ensureGood();
      } catch (error) {
        cut.push(error);
      }
    });
    await vi.waitFor(() => ensureGood());
    expect(cut).toEqual([]);
    // However many ask, it is read again once.
    expect(reads).toHaveBeenCalledTimes(2);
    expect(() => ensureGood({ id: OTHER, serial: undefined })).toThrow(
      refusal('revoked_peer', /revocation 1/),
    );
  });
  test('that cannot be read is read once at a time, however many ask', async () => {
    const reads = vi.spyOn(deps.store, 'revocations').mockRejectedValue(new Error('busy'));
    await expect(revocations.change(elsewhere)).rejects.toThrow('busy');
    for (let asked = 0; asked < 10; asked += 1)
      expect(() => ensureGood()).toThrow(refusal('store', /could not be read/));
    // This one comes after all that was asked for before it, and reads before it changes anything.
    await expect(revocations.revoke(order('id', OTHER))).rejects.toThrow('busy');
    expect(reads).toHaveBeenCalledTimes(3);
    reads.mockRestore();
  });
});

test('reports what would match, and changes nothing', async () => {
  const other = parseSpiffeId('spiffe://prod.example/api');
  await deps.store.record({ ...issuance, serial: '40ab', id: other }, fence);
  await deps.store.record({ ...issuance, serial: '40ac', notAfter: NOW }, fence);
  const matched = (kind: string, value: string) => revocations.matched(order(kind, value));
  const more = false;
  const both = { certificates: 2, ids: [other, ID], more };
  expect(await matched('pattern', 'spiffe://prod.example/*')).toEqual(both);
  expect(await matched('pattern', 'spiffe://prod.example/**')).toEqual(both);
  expect(await matched('id', ID)).toEqual({ certificates: 1, ids: [ID], more });
  expect(await matched('serial', '40ab')).toEqual({ certificates: 1, ids: [other], more });
  expect(await matched('node', 'fake/n1')).toEqual(both);
  for (const [kind, value] of [
    ['id', `${ID}2`],
    ['serial', '40ff'],
    ['node', 'fake/n2'],
    ['pattern', 'spiffe://prod.example/w/*'],
  ] as const)
    expect(await matched(kind, value)).toEqual({ certificates: 0, ids: [], more });
  deps.clock.jump(after(60));
  await expect(matched('serial', '40aa')).rejects.toThrow(refusal('revocation', /by itself$/));
  await expect(matched('id', 'spiffe://other.example/web')).rejects.toThrow(
    refusal('revocation', /trust domain/),
  );
  ensureGood();
});
