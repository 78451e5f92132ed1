/** Authorities whose key is stolen, on real authorities in memory; the thief signs with the stolen keys themselves. */
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { INTERMEDIATE_TTL, type memoryKeys, proven } from '../../../test/kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { after } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Acknowledged } from '../agents/acknowledged.ts';
import { Authorities } from '../authority/authorities.ts';
import { issue } from '../authority/issue.ts';
import { keyNameOf } from '../authority/records.ts';
import { openRotation, type Rotation } from './rotation.ts';
import type { StepOrder } from './status.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const BY = 'uid 0';
const PLAIN: StepOrder = { without: [], everybody: false, reason: '', dryRun: false };

let rpc: Rpc;
let rotation: Rotation;
let settle: ReturnType<typeof vi.fn<() => Promise<void>>>;
beforeEach(async () => {
  rpc = await makeRpc();
  settle = vi.fn(async () => {});
  rotation = openRotation({
    ...rpc,
    // Nobody is waited for.
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle },
    ensureSteady: () => {},
  });
});

const taint = (authority: string, dryRun = false) =>
  rotation.taint({ authority, reason: 'stolen', dryRun }, BY);
const certificate = async (node = 'n1') =>
  issue(
    { id, platform: 'fake', node, identity: 'web', ttlSeconds: 3600, dnsNames: [], key: await proven() },
    rpc,
  );
const bundle = () => rpc.authorities.bundle.current();
const issuer = () => rpc.authorities.issuer(rpc.clock.now());
const record = async (serial: string) =>
  (await rpc.store.authorities()).find((each) => each.serial === serial);
const roots = async () => {
  const all = (await rpc.store.authorities()).filter(({ kind }) => kind === 'root');
  return Object.fromEntries(all.map(({ serial, state }) => [serial, state]));
};
const standby = async (): Promise<string> => {
  const made = (await rotation.standBy(BY, false)).standby;
  if (made === undefined) throw new Error('no root stands by');
  return made.serial;
};

/** A connected agent that has acknowledged nothing. */
function agent(node = 'n1') {
  const acknowledged = new Acknowledged();
  const live = {
    ...{ id, platform: 'fake', node, identity: 'web', serial: '40ff', address: '10.0.0.1:7', version: '1' },
    ...{ connectedAt: rpc.clock.now(), certificateNotAfter: after(60), acknowledged },
  };
  rpc.agents.open(live, Buffer.from(node));
}

describe('an intermediate', () => {
  test('is gone at once: another one signs, its key is revoked and forgotten, and what it signed is refused', async () => {
    const stolen = issuer().serial;
    const early = await certificate();
    const before = verifySvid(early.chain, bundle(), rpc.clock.now());
    const report = await taint(stolen);
    expect(report.refused).toEqual([{ id, certificates: 1, until: early.notAfter }]);
    expect(issuer().serial).not.toBe(stolen);
    expect(await record(stolen)).toMatchObject({ state: 'removed', taintedAt: rpc.clock.now() });
    const set = rpc.revocations.sets.current();
    expect(set.revoked(before, rpc.clock.now())).toMatchObject({
      target: { kind: 'authority' },
      reason: 'keyCompromise',
    });
    const late = verifySvid((await certificate()).chain, bundle(), rpc.clock.now());
    expect(set.revoked(late, rpc.clock.now())).toBeUndefined();
    expect((rpc.keys as ReturnType<typeof memoryKeys>).signers.has(stolen)).toBe(false);
    expect(settle).toHaveBeenCalledOnce();
    expect(bundle().retiring).toHaveLength(1);
  });

  test('I205 is taken away in turn with all revocations, and holds up none while the CA gets its certificate', async () => {
    const { promise: before, resolve: end } = Promise.withResolvers<void>();
    const changing = rpc.revocations.change(() => before);
    const write = vi.spyOn(rpc.store, 'taintAuthority');
    const { promise: settled, resolve: go } = Promise.withResolvers<void>();
    settle.mockReturnValue(settled);
    const tainted = taint(issuer().serial);
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
    expect(write).not.toHaveBeenCalled();
    end();
    await changing;
    await vi.waitFor(() => expect(settle).toHaveBeenCalled());
    const order = { target: { kind: 'id', value: id }, reason: 'unspecified', seconds: 0, by: BY } as const;
    await rpc.revocations.revoke(order);
    // What the taint has revoked is in force with it.
    expect(rpc.revocations.sets.current().list).toHaveLength(2);
    go();
    await tainted;
  });

  test('that signs no more is taken away, and the one that signs goes on', async () => {
    const old = issuer().serial;
    await rotation.renewIntermediate(BY, false);
    const signs = issuer().serial;
    await taint(old);
    expect(issuer().serial).toBe(signs);
    expect((await record(old))?.state).toBe('removed');
  });

  test('that was removed long ago is revoked all the same', async () => {
    const old = issuer().serial;
    rpc.clock.jump(after(INTERMEDIATE_TTL + 1));
    await rpc.authorities.refresh();
    expect((await record(old))?.state).toBe('removed');
    await taint(old);
    expect((await record(old))?.taintedAt).toEqual(rpc.clock.now());
  });

  test('is revoked for a day longer than it lasts', async () => {
    const { serial, certificate: own } = issuer();
    const { revocation } = await taint(serial);
    expect(revocation?.until?.getTime()).toBe(own.notAfter.getTime() + 86_400_000);
  });
});

describe('the root that signs, with a standby root', () => {
  test('leaves the bundle in the step in which the standby root signs, and nothing relies on it between', async () => {
    const [stolen, spare] = [rpc.root.serial, await standby()];
    const early = await certificate();
    const bundles: number[] = [];
    rpc.authorities.bundle.onChange(({ authorities }) => bundles.push(authorities.length));
    const report = await taint(stolen);
    expect(report).toMatchObject({ root: { serial: spare }, byHand: [] });
    expect(await roots()).toEqual({ [stolen]: 'removed', [spare]: 'active' });
    expect(bundles).toEqual([1]);
    const late = await certificate();
    expect(verifySvid(late.chain, bundle(), rpc.clock.now()).id).toBe(id);
    expect(() => verifySvid(early.chain, bundle(), rpc.clock.now())).toThrow(
      refusal('chain', /trusted root/),
    );
    const [event] = (await rpc.store.events(0, 1000))
      .map(({ event }) => event)
      .filter(({ type }) => type === 'authority.tainted');
    expect(event).toMatchObject({ serial: stolen, kind: 'root', reason: 'stolen', by: BY });
  });

  test('is in force after a crash right behind the transition (I105)', async () => {
    const [stolen, spare] = [rpc.root.serial, await standby()];
    settle.mockRejectedValue(new Error('killed'));
    await expect(taint(stolen)).rejects.toThrow('killed');
    const again = await Authorities.open(rpc);
    expect(again.bundle.current().authorities).toHaveLength(1);
    expect((await rpc.store.revocations()).list.map(({ target }) => target.kind)).toEqual(['authority']);
    expect((await record(spare))?.state).toBe('active');
  });

  test('is not touched where the standby key is not at hand, and the refusal says what to do (I105)', async () => {
    const [stolen, spare] = [rpc.root.serial, await standby()];
    (rpc.keys as ReturnType<typeof memoryKeys>).signers.delete(spare);
    for (const dryRun of [true, false])
      await expect(taint(stolen, dryRun)).rejects.toThrow(
        refusal(
          'rotation',
          /^the key of root \w+, which signs after this, is not at hand .*: bring the folder/,
        ),
      );
    expect(await roots()).toEqual({ [stolen]: 'active', [spare]: 'published' });
  });
});

describe('the root that signs, without a standby root', () => {
  test('goes once another one was pushed, and the report names who cannot hear of that', async () => {
    const stolen = rpc.root.serial;
    await certificate('away');
    agent('here');
    const dry = await taint(stolen, true);
    expect(dry).toMatchObject({ root: undefined, byHand: [{ id, certificates: 1 }], agents: 1 });
    expect(await roots()).toEqual({ [stolen]: 'active' });
    const report = await taint(stolen);
    // The connected agent of the test acknowledges nothing.
    expect(report.byHand.map(({ certificates }) => certificates)).toEqual([1, 1]);
    expect((await roots())[stolen]).toBe('removed');
    expect(verifySvid((await certificate()).chain, bundle(), rpc.clock.now()).id).toBe(id);
  });

  test('is followed by the root that retires, where a rotation is under way', async () => {
    const old = rpc.root.serial;
    await rotation.start(BY, false);
    const { active } = await rotation.next(PLAIN, BY);
    expect((await taint(active.serial)).byHand).toEqual([]);
    expect(await roots()).toEqual({ [old]: 'active', [active.serial]: 'removed' });
  });

  test('is followed by the root that is published already', async () => {
    const { other } = await rotation.start(BY, false);
    await taint(rpc.root.serial);
    expect((await roots())[other?.serial ?? '']).toBe('active');
  });
});

describe('a tainted authority (I104)', () => {
  test('is tainted once', async () => {
    const { serial } = issuer();
    await taint(serial);
    await expect(taint(serial)).rejects.toThrow(
      refusal('rotation', /^intermediate \w+ is tainted already, since 2026/),
    );
  });

  test('does not come back by a rollback', async () => {
    const old = rpc.root.serial;
    await rotation.start(BY, false);
    await rotation.next(PLAIN, BY);
    await taint(old);
    await expect(rotation.rollback(BY, false)).rejects.toThrow(
      refusal('rotation', /^no rotation is under way/),
    );
    expect((await roots())[old]).toBe('removed');
  });

  test('is not moved by the store, whatever asks', async () => {
    const { serial } = issuer();
    await taint(serial);
    for (const to of ['active', 'retiring', 'prepared'] as const) {
      const moves = [{ serial, from: 'removed', to }] as const;
      const moved = rpc.store.moveAuthorities(moves, { type: 'authority.moved', moves });
      await expect(moved).rejects.toThrow(refusal('store', /^intermediate \w+ cannot go from removed to /));
    }
  });

  test('stays revoked', async () => {
    const { revocation } = await taint(issuer().serial);
    await expect(rpc.revocations.lift(revocation?.number ?? 0, BY)).rejects.toThrow(
      refusal('revocation', /^this revocation is of the key of a tainted authority, which stays revoked$/),
    );
  });

  test('is not what `revoke` makes', async () => {
    const { value } = { value: keyNameOf(rpc.root) };
    const target = { kind: 'authority', value } as const;
    const revoked = rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: BY });
    await expect(revoked).rejects.toThrow(refusal('revocation', /chancery-ca taint$/));
  });
});

describe('a standby root (I104)', () => {
  test('is left alone by a whole rotation, and signs nothing', async () => {
    const spare = await standby();
    await rotation.start(BY, false);
    const { active } = await rotation.next(PLAIN, BY);
    await rotation.next(PLAIN, BY);
    expect(await roots()).toEqual({
      [rpc.root.serial]: 'removed',
      [spare]: 'published',
      [active.serial]: 'active',
    });
    expect(bundle().authorities).toHaveLength(2);
  });

  test('is left alone by a rollback', async () => {
    const spare = await standby();
    await expect(rotation.rollback(BY, false)).rejects.toThrow(
      refusal('rotation', /^no rotation is under way/),
    );
    await expect(rotation.next(PLAIN, BY)).rejects.toThrow(refusal('rotation', /^no rotation is under way/));
    await rotation.start(BY, false);
    await rotation.rollback(BY, false);
    expect((await roots())[spare]).toBe('published');
  });

  test('is not made to sign by the store, unless the root that signs is tainted', async () => {
    const spare = await standby();
    const moves = [
      { serial: rpc.root.serial, from: 'active', to: 'retiring' },
      { serial: spare, from: 'published', to: 'active' },
    ] as const;
    await expect(rpc.store.moveAuthorities(moves, { type: 'authority.moved', moves })).rejects.toThrow(
      refusal('store', /^root \w+ stands by: it signs once the root that signs now is tainted$/),
    );
  });

  test('is one at a time, and goes when it is tainted itself', async () => {
    const spare = await standby();
    await expect(rotation.standBy(BY, false)).rejects.toThrow(
      refusal('rotation', /stands by already; if its key is lost/),
    );
    await taint(spare);
    expect(bundle().authorities).toHaveLength(1);
    expect(issuer().serial).toBeDefined();
    expect(await standby()).not.toBe(spare);
  });

  test('that a crash has left prepared is published by the next try', async () => {
    vi.spyOn(rpc.store, 'moveAuthorities').mockRejectedValueOnce(new Error('killed'));
    await expect(rotation.standBy(BY, false)).rejects.toThrow('killed');
    await standby();
    expect(Object.values(await roots()).toSorted()).toEqual(['active', 'published']);
  });
});

test.each([
  ['nothing at all', 'zz', /^"zz" is not a serial, a key identifier or the SHA-256 of a key/],
  ['too few digits', '40', /^"40" is not a serial/],
  ['an authority of somebody else', 'ffffffff', /^no authority of this CA begins with ffffffff/],
])('%s is not tainted', async (_, name, says) => {
  await expect(taint(name)).rejects.toThrow(refusal('rotation', says));
});

test('an authority is known by its key as well', async () => {
  const { serial, certificate: own } = issuer();
  const key = (await record(serial)) ?? rpc.root;
  const report = await taint(keyNameOf(key).toUpperCase(), true);
  expect(report.authority).toMatchObject({ serial, certificate: key.certificate });
  expect(parseCertificate(key.certificate).spki).toEqual(own.spki);
});

test('a thief with the key of an intermediate cannot take the place of a recorded certificate (I101)', async () => {
  const { ensureRecorded } = await import('../authority/recorded.ts');
  const { chain, serial } = await certificate();
  const shown = verifySvid(chain, bundle(), rpc.clock.now());
  const stored = await rpc.store.issuance(serial);
  expect(() => ensureRecorded(shown, stored)).not.toThrow();
  const forged = { ...shown, certificate: { ...shown.certificate, spki: signerOf(generateKey()).spki } };
  expect(() => ensureRecorded(forged, stored)).toThrow(refusal('chain', /was recorded with another key$/));
});
