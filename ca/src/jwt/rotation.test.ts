/**
 * The rotation of the JWT key on real keys in memory, under a clock that the test moves. The judge of each signature is
 * jose, with the key set as it is served.
 */
import { createHash } from 'node:crypto';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { after } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Acknowledged } from '../agents/acknowledged.ts';
import type { StepOrder } from '../rotation/status.ts';
import type { RotationDeps } from '../rotation/step.ts';
import type { StoredJwtKey } from '../store/store.ts';
import { keySetText } from './documents.ts';
import { ensureJwtKey, MAX_TOKEN_SECONDS } from './keys.ts';
import { openRotations, type Rotations } from './rotations.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const BY = 'uid 0';
const PLAIN: StepOrder = { without: [], everybody: false, reason: '', dryRun: false };
/** Of caches with the key set, and of tokens: with the two minutes for processes and clocks. */
const [CACHE, TOKENS] = [300 + 120, MAX_TOKEN_SECONDS + 120];

let rpc: Rpc;
let rotation: Rotations;
let steady = (): void => {};
beforeEach(async () => {
  steady = () => {};
  rpc = await makeRpc();
  await ensureJwtKey(rpc);
  await rpc.authorities.refresh();
  rotation = open();
});
const open = (changes: Partial<RotationDeps> = {}): Rotations =>
  openRotations({
    ...rpc,
    // Nobody is waited for after a publication.
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => steady(),
    ...changes,
  });

const next = (changes: Partial<StepOrder> = {}) => rotation.jwt.next({ ...PLAIN, ...changes }, BY);
const keys = async () => (await rpc.store.allAuthorities()).jwtKeys;
const states = async () => (await keys()).map(({ state }) => state);
const bundle = () => rpc.authorities.bundle.current();
const inBundle = () => bundle().jwtAuthorities.map(({ keyId }) => keyId);
const later = (seconds: number): void => rpc.clock.jump(new Date(rpc.clock.now().getTime() + seconds * 1000));

/** A token by one key. Nothing of the product makes tokens yet: the signature is of the home's own signer. */
async function token({ serial, key }: StoredJwtKey): Promise<string> {
  const signer = await rpc.keys.jwt.load(key);
  const parts = [
    { alg: 'ES256', kid: serial },
    { sub: id, aud: 'test', exp: Math.floor(rpc.clock.now().getTime() / 1000) + MAX_TOKEN_SECONDS },
  ].map((each) => Buffer.from(JSON.stringify(each)).toString('base64url'));
  const der = Buffer.from(await signer.sign(Buffer.from(parts.join('.'))));
  return [...parts, rawOf(der).toString('base64url')].join('.');
}

/** RFC 7518 section 3.4: r and s beside each other, 32 bytes each. */
function rawOf(der: Buffer): Buffer {
  const integers: Buffer[] = [];
  for (let at = 2; at < der.length; ) {
    const length = der[at + 1] ?? 0;
    integers.push(der.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return Buffer.concat(integers.map((each) => Buffer.concat([Buffer.alloc(33), each]).subarray(-32)));
}

const signing = async () => {
  const found = (await keys()).find(({ state }) => state === 'active');
  if (found === undefined) throw new Error('no key signs');
  return found;
};
/** By the key set as it is served now. */
async function verifies(text: string): Promise<boolean> {
  const set = createLocalJWKSet(JSON.parse(keySetText(bundle().jwtAuthorities)));
  return jwtVerify(text, set, { audience: 'test', currentDate: rpc.clock.now() }).then(
    () => true,
    () => false,
  );
}

/** A connected agent; the returned function acknowledges the bundle in force. */
function agent(name = id) {
  const acknowledged = new Acknowledged();
  const live = {
    ...{ id: name, platform: 'fake', node: 'n1', identity: 'web', serial: '40ff', address: '10.0.0.1:7' },
    ...{ version: '1', connectedAt: rpc.clock.now(), certificateNotAfter: after(9e9), acknowledged },
  };
  rpc.agents.open(live, Buffer.from(name));
  return (): void => {
    const { sequence } = bundle();
    acknowledged.sending(sequence, { bundle: sequence, policy: 0n, revocations: 0n });
    acknowledged.take({ sequence });
  };
}

describe('a whole rotation', () => {
  test('has each token verify for as long as it lives, by the key set of every state', async () => {
    const acknowledge = agent();
    acknowledge();
    const old = await signing();
    const before = await token(old);
    const sizes = [inBundle().length];
    expect(await verifies(before)).toBe(true);
    expect(await rotation.jwt.start(BY, false)).toMatchObject({ stage: 'published', next: 'activate' });
    sizes.push(inBundle().length);
    expect((await signing()).serial).toBe(old.serial);
    await expect(next()).rejects.toThrow(
      refusal(
        'rotation',
        /^not yet: not acknowledged by 1 of 1 connected agents: .* JWT key; caches may have/,
      ),
    );
    acknowledge();
    await expect(next()).rejects.toThrow(
      /^not yet: caches may have a key set without the new key until \S+$/,
    );
    later(CACHE - 1);
    await expect(next()).rejects.toThrow(/^not yet: caches/);
    later(1);
    const published = await token(old);
    expect(await next()).toMatchObject({
      stage: 'retiring',
      next: 'remove',
      made: 'activate',
      waits: [/tokens/],
    });
    sizes.push(inBundle().length);
    const late = await token(await signing());
    for (const each of [published, late]) expect(await verifies(each)).toBe(true);
    later(TOKENS - 1);
    await expect(next({ everybody: true, reason: 'hurry' })).rejects.toThrow(
      refusal('rotation', /^not yet: tokens that the retiring key has signed may live until/),
    );
    const fresh = await token(await signing());
    later(1);
    expect(await next()).toMatchObject({ stage: 'idle', made: 'remove', endedAt: rpc.clock.now() });
    sizes.push(inBundle().length);
    expect(sizes).toEqual([1, 2, 2, 1]);
    expect(await states()).toEqual(['removed', 'active']);
    expect([await verifies(fresh), await verifies(await sameTime(before))]).toEqual([true, false]);
    await expect(rpc.keys.jwt.load(old.key)).rejects.toThrow();
  });

  test('changes the number of the bundle once for each change of it, and of nothing else', async () => {
    const numbers = [bundle().sequence];
    const seen = async (step: () => Promise<unknown>) => {
      await step();
      numbers.push(bundle().sequence);
    };
    await seen(() => rotation.jwt.start(BY, false));
    later(CACHE);
    await seen(next);
    later(TOKENS);
    await seen(next);
    expect(numbers.map((each) => each - (numbers[0] ?? 0n))).toEqual([0n, 1n, 1n, 2n]);
  });

  test('goes on beside one of the root, and neither takes the other for its own', async () => {
    await rotation.start(BY, false);
    await rotation.jwt.start(BY, false);
    expect((await rotation.status()).stage).toBe('published');
    later(CACHE);
    await next();
    expect([(await rotation.status()).stage, (await rotation.jwt.status()).stage]).toEqual([
      'published',
      'retiring',
    ]);
    await rotation.next(PLAIN, BY);
    expect((await rpc.store.authorities()).filter(({ kind }) => kind === 'root')).toHaveLength(2);
    expect(bundle().jwtAuthorities).toHaveLength(2);
  });

  test('is gone on with after a crash before any write', async () => {
    for (const method of ['saveJwtKey', 'moveJwtKeys', 'moveJwtKeys', 'moveJwtKeys'] as const) {
      const killed = vi.spyOn(rpc.store, method).mockRejectedValueOnce(new Error('killed'));
      const { stage } = await rotation.jwt.status();
      const step = () => (stage === 'idle' ? rotation.jwt.start(BY, false) : next());
      await expect(step()).rejects.toThrow(/killed/);
      killed.mockRestore();
      rotation = open();
      const again = await rotation.jwt.status();
      await (again.stage === 'idle' ? rotation.jwt.start(BY, false) : next());
      later(TOKENS);
    }
    expect(await states()).toContain('active');
    expect(inBundle()).toHaveLength((await rotation.jwt.status()).stage === 'idle' ? 1 : 2);
  });
});

/** The same claims and key, as if it had not ended: what is shown is that no key verifies it. */
const sameTime = async (text: string): Promise<string> => {
  const [header = '', , signature = ''] = text.split('.');
  const exp = Math.floor(rpc.clock.now().getTime() / 1000) + 60;
  const claims = Buffer.from(JSON.stringify({ sub: id, aud: 'test', exp })).toString('base64url');
  return [header, claims, signature].join('.');
};

describe('a rollback', () => {
  test('of a published key takes it away, and what signs goes on', async () => {
    const { serial } = await signing();
    await rotation.jwt.start(BY, false);
    expect((await rotation.jwt.rollback(BY, false)).stage).toBe('idle');
    expect([inBundle(), await states()]).toEqual([[serial], ['active', 'removed']]);
  });

  test('of a retiring key lets it sign again; the new one verifies until its tokens have ended', async () => {
    const { serial } = await signing();
    await rotation.jwt.start(BY, false);
    later(CACHE);
    await next();
    const made = await token(await signing());
    expect((await rotation.jwt.rollback(BY, false)).stage).toBe('retiring');
    expect((await signing()).serial).toBe(serial);
    expect(await verifies(made)).toBe(true);
    await expect(rotation.jwt.rollback(BY, false)).rejects.toThrow(
      refusal('rotation', /^it is taken back already: key \w+ signs again; .* removes key \w+$/),
    );
    later(TOKENS);
    expect((await next()).stage).toBe('idle');
    expect(inBundle()).toEqual([serial]);
  });
});

describe('the step that lets the new key sign', () => {
  test.each([
    ['one agent by its SPIFFE ID', { without: [id] }, /^not yet: caches/],
    [
      'one that nobody has',
      { without: ['spiffe://prod.example/wbe'] },
      /nobody of this .*; did you mean \S+web\?$/,
    ],
    ['one far from all', { without: ['spiffe://prod.example/x'] }, /chancery-ca rotate status lists who is$/],
  ])('without %s', async (_, waiver, says) => {
    agent();
    await rotation.jwt.start(BY, false);
    await expect(next(waiver)).rejects.toThrow(refusal('rotation', says));
  });

  test('waits for nobody if the operator says so, and the log keeps why', async () => {
    agent();
    await rotation.jwt.start(BY, false);
    expect(await next({ everybody: true, reason: 'a drill' })).toMatchObject({ stage: 'retiring' });
    const events = (await rpc.store.events(0, 1000)).map(({ event }) => event);
    expect(events.findLast(({ type }) => type === 'jwtKey.moved')).toMatchObject({
      ...{ by: BY, reason: 'a drill', leftBehind: { agents: 1 } },
    });
  });

  test.each(['activate', 'remove'])('is not made after a leap of the clock (%s)', async (step) => {
    await rotation.jwt.start(BY, false);
    later(CACHE);
    if (step === 'remove') await next();
    later(TOKENS);
    steady = () => {
      throw new Error('the clock leapt');
    };
    await expect(next()).rejects.toThrow(/leapt/);
  });
});

describe('a step (I247)', () => {
  const moved = async () =>
    (await rpc.store.events(0, 1000))
      .map(({ event }) => event)
      .findLast(({ type }) => type === 'jwtKey.moved');
  const untouched = async (step: () => Promise<unknown>) => {
    const [before, events] = [await keys(), await rpc.store.events(0, 1000)];
    await step();
    expect([await keys(), await rpc.store.events(0, 1000)]).toEqual([before, events]);
  };

  test('is none where no rotation is under way, and no rotation begins in another one', async () => {
    const none = refusal(
      'rotation',
      /^no rotation of the JWT key is under way: chancery-ca rotate jwt begins/,
    );
    await expect(next()).rejects.toThrow(none);
    await expect(rotation.jwt.rollback(BY, false)).rejects.toThrow(none);
    await rotation.jwt.start(BY, false);
    const again = () => rotation.jwt.start(BY, false);
    await expect(again()).rejects.toThrow(refusal('rotation', /is under way \(published\): chancery-ca/));
    later(CACHE);
    await next();
    await expect(again()).rejects.toThrow(refusal('rotation', /is under way \(retiring\): chancery-ca/));
    expect(await states()).toEqual(['retiring', 'active']);
  });

  test('is none where no key signs yet', async () => {
    rpc = await makeRpc();
    await expect(open().jwt.status()).rejects.toThrow(refusal('rotation', /^no JWT key signs yet: the CA/));
  });

  test('that is only tried changes nothing', async () => {
    await untouched(() => rotation.jwt.start(BY, true));
    await rotation.jwt.start(BY, false);
    await untouched(() => rotation.jwt.rollback(BY, true));
    later(CACHE);
    await untouched(() => next({ dryRun: true }));
  });

  test('for which nobody had to be left behind says so by leaving it out', async () => {
    await rotation.jwt.start(BY, false);
    later(CACHE);
    await next({ reason: 'not asked for' });
    expect(await moved()).toEqual({
      ...{ type: 'jwtKey.moved', by: BY },
      moves: [expect.objectContaining({ to: 'retiring' }), expect.objectContaining({ to: 'active' })],
    });
  });

  test.each(['prepared', 'published', 'retiring'])(
    'is not made on what another process has changed (%s)',
    async (stage) => {
      if (stage !== 'prepared') await rotation.jwt.start(BY, false);
      later(CACHE);
      if (stage === 'retiring') await next();
      later(TOKENS);
      const stale = await rpc.store.allAuthorities();
      const step = () => (stage === 'prepared' ? rotation.jwt.start(BY, false) : next());
      await step();
      const after = await states();
      const { allAuthorities } = rpc.store;
      vi.spyOn(rpc.store, 'allAuthorities').mockResolvedValueOnce(stale).mockImplementation(allAuthorities);
      await expect(open().jwt.rollback(BY, false)).rejects.toThrow(/changed meanwhile|is under way/);
      expect(await states()).toEqual(after);
    },
  );
});

describe('a stolen key (I193)', () => {
  const stolen = async (name: string) =>
    rotation.taint({ authority: name, reason: 'a drill', dryRun: false }, BY);

  test.each([
    ['that signs, with none beside it', async () => {}],
    ['that signs, with the next one published', async () => void (await rotation.jwt.start(BY, false))],
  ])('%s leaves bundle and key set at once, and another one signs', async (_, prepare) => {
    await prepare();
    const key = await signing();
    const forged = await token(key);
    expect(await verifies(forged)).toBe(true);
    const report = await stolen(key.serial.slice(0, 12));
    expect(report.authority).toMatchObject({ kind: 'jwt', serial: key.serial });
    expect(report.jwtKey?.serial).toBe((await signing()).serial);
    expect(await verifies(forged)).toBe(false);
    expect(await verifies(await token(await signing()))).toBe(true);
    expect(inBundle()).not.toContain(key.serial);
    const name = createHash('sha256').update(key.spki).digest('hex');
    expect(rpc.revocations.standing()).toMatchObject([{ target: { kind: 'authority', value: name } }]);
    await expect(stolen(key.serial)).rejects.toThrow(refusal('rotation', /is tainted already, since /));
    await expect(rpc.keys.jwt.load(key.key)).rejects.toThrow();
  });

  test('that retires leaves as well, and who signs does not change', async () => {
    await rotation.jwt.start(BY, false);
    later(CACHE);
    const old = await token(await signing());
    await next();
    const [first] = await keys();
    const { serial } = await signing();
    await stolen(first?.serial ?? '');
    expect([await verifies(old), (await signing()).serial, inBundle()]).toEqual([false, serial, [serial]]);
  });

  test.each(['before the look', 'before another one is published', 'before the change'])(
    'is not taken away on what another process has changed %s',
    async (when) => {
      const key = await signing();
      if (when === 'before the look') {
        await rotation.jwt.start(BY, false);
        const all = await rpc.store.allAuthorities();
        vi.spyOn(rpc.store, 'allAuthorities')
          .mockResolvedValueOnce(all)
          .mockResolvedValueOnce(all)
          .mockResolvedValueOnce({ ...all, jwtKeys: [] });
      }
      if (when === 'before another one is published')
        vi.spyOn(rpc.store, 'moveJwtKeys').mockResolvedValueOnce(undefined);
      if (when === 'before the change') vi.spyOn(rpc.store, 'taintJwtKey').mockResolvedValueOnce(undefined);
      const says = refusal('rotation', /^the JWT keys changed meanwhile: chancery-ca authorities/);
      await expect(stolen(key.serial)).rejects.toThrow(says);
      expect([rpc.revocations.standing(), (await signing()).serial]).toEqual([[], key.serial]);
    },
  );

  test('is told in a dry run, and nothing is done', async () => {
    const key = await signing();
    const report = await rotation.taint({ authority: key.serial, reason: 'x', dryRun: true }, BY);
    expect(report).toMatchObject({ jwtKey: undefined, revocation: undefined });
    expect(inBundle()).toEqual([key.serial]);
  });

  test('is not meant by digits that an authority begins with as well', async () => {
    const key = await signing();
    const root = (await rpc.store.authorities()).find(({ kind }) => kind === 'root');
    const same = { ...key, serial: `${root?.serial.slice(0, 8)}${key.serial.slice(8)}` };
    const all = await rpc.store.allAuthorities();
    vi.spyOn(rpc.store, 'allAuthorities').mockResolvedValue({ ...all, jwtKeys: [same] });
    await expect(stolen(same.serial.slice(0, 8))).rejects.toThrow(
      refusal('rotation', /is more than one authority:[\s\S]* {2}root \w+[\s\S]* {2}jwt \w+$/),
    );
  });
});

test('a rotation that another process has begun at the same time is one rotation', async () => {
  const other = open();
  await Promise.allSettled([rotation.jwt.start(BY, false), other.jwt.start(BY, false)]);
  const found = await states();
  expect(found.filter((each) => each === 'published')).toHaveLength(1);
  expect(found.filter((each) => each === 'active')).toHaveLength(1);
  expect(found.filter((each) => each === 'prepared').length).toBeLessThanOrEqual(1);
});
