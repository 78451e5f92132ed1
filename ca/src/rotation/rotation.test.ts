/** The steps of a rotation on real authorities in memory, on a clock that the test moves. */
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
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
import { OWN_NODE } from '../agents/holders.ts';
import { Authorities } from '../authority/authorities.ts';
import { issue } from '../authority/issue.ts';
import { openRotation, type Rotation } from './rotation.ts';
import type { StepOrder } from './status.ts';
import { steadyClock } from './steady.ts';
import type { RotationDeps } from './step.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const BY = 'uid 0';
const PLAIN: StepOrder = { without: [], everybody: false, reason: '', dryRun: false };

let rpc: Rpc;
let rotation: Rotation;
beforeEach(async () => {
  steady = () => {};
  rpc = await makeRpc();
  rotation = openRotation(depsOf(rpc));
});

const depsOf = (made: Rpc, authorities: Authorities = made.authorities): RotationDeps => ({
  ...made,
  authorities,
  // Nobody is waited for after a publication.
  clock: { now: () => made.clock.now(), sleepUntil: async () => {} },
  own: { leave: async () => {}, settle: async () => {} },
  ensureSteady: () => steady(),
});
let steady = (): void => {};

const next = (changes: Partial<StepOrder> = {}) => rotation.next({ ...PLAIN, ...changes }, BY);
const certificate = async (ttlSeconds = 3600, node = 'n1') =>
  issue({ id, platform: 'fake', node, identity: 'web', ttlSeconds, dnsNames: [], key: await proven() }, rpc);

/** The states of the roots, the first to end first. */
const states = async () =>
  (await rpc.store.authorities()).filter(({ kind }) => kind === 'root').map(({ state }) => state);
const bundle = () => rpc.authorities.bundle.current();
const moved = async () =>
  (await rpc.store.events(0, 1000)).flatMap(({ event }) => (event.type === 'authority.moved' ? [event] : []));

/** A connected agent; the returned function acknowledges the bundle in force. */
function agent(node = 'n1') {
  const acknowledged = new Acknowledged();
  const live = {
    ...{ id, platform: 'fake', node, identity: 'web', serial: '40ff', address: '10.0.0.1:7', version: '1' },
    ...{ connectedAt: rpc.clock.now(), certificateNotAfter: after(60), acknowledged },
  };
  const close = rpc.agents.open(live, Buffer.from(node));
  const acknowledge = (): void => {
    const { sequence } = bundle();
    acknowledged.sending(sequence, { bundle: sequence, policy: 0n, revocations: 0n });
    acknowledged.take({ sequence });
  };
  return { acknowledge, close };
}

describe('a whole rotation', () => {
  test('goes from root to root, each step pushed, and what each root signed verifies while it counts', async () => {
    rpc.clock.jump(after(1));
    const early = await certificate();
    const live = agent();
    live.acknowledge();
    const sizes = [bundle().authorities.length];
    const status = await rotation.start(BY, false);
    expect(status).toMatchObject({ stage: 'published', next: 'activate', agents: 1 });
    expect(status.stragglers).toMatchObject([{ id, node: 'n1', address: '10.0.0.1:7', since: after(1) }]);
    sizes.push(bundle().authorities.length);
    await expect(next()).rejects.toThrow(
      refusal(
        'rotation',
        /^not yet: not acknowledged by 1 of 1 connected agents: the bundle with the new root \(\S+\)\. `chancery-ca rotate status` lists/,
      ),
    );
    live.acknowledge();
    expect(await next()).toMatchObject({ stage: 'retiring', next: 'remove' });
    expect(bundle().retiring).toHaveLength(1);
    const late = await certificate(60);
    for (const { chain } of [early, late]) expect(verifySvid(chain, bundle(), rpc.clock.now()).id).toBe(id);
    const old = parseCertificate(rpc.root.certificate).subject;
    expect(parseCertificate(late.chain[1] ?? new Uint8Array()).issuer).not.toEqual(old);
    sizes.push(bundle().authorities.length);
    await expect(next()).rejects.toThrow(/^not yet: 1 unexpired certificate under the retiring root; /);
    rpc.clock.jump(after(3602));
    expect(await next()).toMatchObject({ stage: 'idle', next: 'prepare' });
    sizes.push(bundle().authorities.length);
    expect(sizes).toEqual([1, 2, 2, 1]);
    expect(await states()).toEqual(['removed', 'active']);
    expect(bundle().retiring).toEqual([]);
    const untrusted = refusal('chain', /does not end at a trusted root \(1 trusted\)$/);
    expect(() => verifySvid(early.chain, bundle(), after(2)), 'I15').toThrow(untrusted);
    // Two keys are left: of the new root and of the intermediate under it.
    expect((rpc.keys as ReturnType<typeof memoryKeys>).signers.size).toBe(2);
  });

  test('can follow another one, and ends with the third root alone', async () => {
    for (let round = 0; round < 2; round += 1) {
      await rotation.start(BY, false);
      await next();
      await next();
      rpc.clock.jump(after((round + 1) * 10));
    }
    expect(await states()).toEqual(['removed', 'removed', 'active']);
    expect((await certificate()).chain).toHaveLength(2);
  });

  test('works after everything but the root has expired', async () => {
    await certificate();
    agent();
    rpc.clock.jump(after(10 * INTERMEDIATE_TTL));
    await rotation.start(BY, false);
    // The connected agent has a certificate that has ended: it is asked to acknowledge all the same.
    await expect(next()).rejects.toThrow(/1 of 1 connected agents/);
    await next({ everybody: true, reason: 'everything expired' });
    await next();
    const { chain } = await certificate();
    expect(verifySvid(chain, bundle(), rpc.clock.now()).id).toBe(id);
  });
});

describe('the step that lets the new root sign', () => {
  test('waits for certificates of holders without a stream that came before the new root, until they end', async () => {
    await certificate(100, 'job');
    await rotation.start(BY, false);
    await certificate(5000, 'later job');
    const { unheard } = await rotation.status();
    expect(unheard).toEqual([{ id, certificates: 1, until: after(100) }]);
    agent().close();
    const last = { address: expect.stringMatching(/./), endedAt: rpc.clock.now() };
    expect((await rotation.status()).unheard).toEqual([{ id, certificates: 1, until: after(100), last }]);
    await expect(next()).rejects.toThrow(
      /^not yet: 1 unexpired certificate of holders without a trust stream/,
    );
    rpc.clock.jump(after(101));
    expect((await next()).stage).toBe('retiring');
  });

  test('does not count a holder that is connected, or revoked', async () => {
    await certificate();
    await rotation.start(BY, false);
    const { acknowledge, close } = agent();
    acknowledge();
    expect((await rotation.status()).waits).toEqual([]);
    close();
    expect((await rotation.status()).waits).toHaveLength(1);
    const target = { kind: 'id', value: id } as const;
    await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: BY });
    expect((await rotation.status()).waits).toEqual([]);
    agent('n2');
    expect((await rotation.status()).stragglers).toEqual([]);
  });

  test('counts a holder whose revocation ends before its certificate', async () => {
    await certificate(3600);
    await rotation.start(BY, false);
    const target = { kind: 'id', value: id } as const;
    await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 600, by: BY });
    expect((await rotation.status()).waits).toHaveLength(1);
  });

  test('does not wait where an operator says so, and the audit log has who, why and for whom', async () => {
    await certificate(100, 'job');
    agent();
    await rotation.start(BY, false);
    await next({ without: [id], reason: 'on holiday' });
    expect((await moved()).at(-1)).toMatchObject({
      ...{ by: BY, reason: 'on holiday', without: [id] },
      leftBehind: { agents: 1, certificates: 1 },
    });
    expect((await states()).toSorted()).toEqual(['active', 'retiring']);
  });

  test('says nothing of a reason where nobody was left behind', async () => {
    await rotation.start(BY, false);
    await next({ everybody: true, reason: 'to be sure' });
    const event = { type: 'authority.moved', moves: expect.anything(), by: BY };
    expect((await moved()).at(-1)).toEqual({ ...event, voucher: expect.anything() });
  });

  test('is one move of both roots and both intermediates', async () => {
    await rotation.start(BY, false);
    await next();
    expect((await moved()).at(-1)?.moves.map(({ from, to }) => `${from} ${to}`)).toEqual([
      'active retiring',
      'active retiring',
      'published active',
      'prepared active',
    ]);
  });

  test('is not made with a root whose key is another one', async () => {
    await rotation.start(BY, false);
    const { serial = '' } = (await rotation.status()).other ?? {};
    (rpc.keys as ReturnType<typeof memoryKeys>).signers.set(serial, signerOf(generateKey()));
    await expect(next()).rejects.toThrow(refusal('authority_unfit', /^root 40[0-9a-f]+ is not valid now: /));
    expect((await states()).toSorted()).toEqual(['active', 'published']);
  });

  test("does not count the CA's own certificate, which it replaces by itself", async () => {
    const own = { ...OWN_NODE, identity: 'chancery-ca', ttlSeconds: 3600, dnsNames: [] };
    await issue({ id, ...own, key: await proven() }, rpc);
    await rotation.start(BY, false);
    expect((await rotation.status()).unheard).toEqual([]);
    expect((await next()).chained).toEqual([]);
  });

  test('is not made with a root that is not valid now', async () => {
    await rotation.start(BY, false);
    rpc.clock.jump(after(-3600));
    await expect(next()).rejects.toThrow(refusal('authority_unfit', /^the root is valid from /));
    expect((await states()).toSorted()).toEqual(['active', 'published']);
  });
});

describe('the step that removes the old root', () => {
  beforeEach(async () => {
    await rotation.start(BY, false);
    await next();
  });

  test("moves the CA's own certificate to the new root first", async () => {
    const states: (string | undefined)[] = [];
    const { store, root } = rpc;
    const leave = async (serial: string) => {
      const records = await store.authorities();
      states.push(serial, records.find((each) => each.serial === serial)?.state);
    };
    rotation = openRotation({ ...depsOf(rpc), own: { leave, settle: async () => {} } });
    expect((await next()).stage).toBe('idle');
    expect(states).toEqual([root.serial, 'retiring']);
  });

  test('is not made where a certificate is recorded after the look', async () => {
    const { store } = rpc;
    const [old] = (await store.authorities()).filter(
      ({ kind, state }) => kind === 'intermediate' && state === 'retiring',
    );
    const holdings = store.holdings.bind(store);
    vi.spyOn(store, 'holdings').mockImplementationOnce(async (query) => {
      const seen = await holdings(query);
      const { issuer: _, ...record } = (await rpc.store.issued({ limit: 1 }))[0] ?? {
        ...{ serial: '40abcd', id, platform: 'fake', node: 'n9', identity: 'web', issuer: '' },
        ...{ keySha256: Buffer.alloc(32, 9), notBefore: after(0), notAfter: after(60) },
      };
      await store.record(
        { ...record, issuer: old?.serial ?? '' },
        { type: 'agent.acknowledged', id, sequence: 1 },
      );
      return seen;
    });
    await expect(next()).rejects.toThrow(refusal('rotation', /changed meanwhile/));
    expect((await states()).toSorted()).toEqual(['active', 'retiring']);
  });

  test('cannot be hurried', async () => {
    await next();
    await rotation.start(BY, false);
    await certificate();
    agent().acknowledge();
    await next();
    await expect(next({ everybody: true, reason: 'hurry', without: [id] })).rejects.toThrow(
      /under the retiring root/,
    );
  });
});

test('the removal waits for certificates of an intermediate that a clock ahead has removed as ended', async () => {
  const [now, far] = [rpc.clock.now(), after(30 * 86_400)];
  await certificate(3600);
  rpc.clock.jump(far);
  await rpc.authorities.refresh();
  rpc.clock.jump(now);
  await rpc.authorities.refresh();
  await rotation.start(BY, false);
  await next({ everybody: true, reason: 'a clock was ahead' });
  const { stage, chained } = await rotation.status();
  expect([stage, chained.map(({ certificates }) => certificates)]).toEqual(['retiring', [1]]);
  await expect(next()).rejects.toThrow(refusal('rotation', /^not yet: 1 unexpired certificate/));
});

describe('a rollback', () => {
  test('of a published root ends the rotation, and its key is gone', async () => {
    await rotation.start(BY, false);
    expect((await rotation.rollback(BY, false)).stage).toBe('idle');
    expect((await states()).toSorted()).toEqual(['active', 'removed']);
    expect((rpc.keys as ReturnType<typeof memoryKeys>).signers.size).toBe(2);
  });

  test('of a prepared root ends the rotation', async () => {
    const moving = vi.spyOn(rpc.store, 'moveAuthorities').mockRejectedValueOnce(new Error('killed'));
    await expect(rotation.start(BY, false)).rejects.toThrow(/killed/);
    moving.mockRestore();
    expect((await rotation.status()).stage).toBe('prepared');
    expect((await rotation.rollback(BY, false)).stage).toBe('idle');
  });

  test('of a root that signs lets the old one sign again, and the new one retires', async () => {
    const before = rpc.authorities.issuer(rpc.clock.now()).serial;
    await rotation.start(BY, false);
    await next();
    await certificate(60);
    expect(await rotation.rollback(BY, false)).toMatchObject({
      stage: 'retiring',
      active: { serial: rpc.root.serial },
    });
    expect(rpc.authorities.issuer(rpc.clock.now()).serial).toBe(before);
    await expect(next()).rejects.toThrow(/^not yet: 1 unexpired certificate /);
    rpc.clock.jump(after(61));
    expect((await next()).active.serial).toBe(rpc.root.serial);
  });

  test('is made once: typed again, it does not let the new root sign', async () => {
    rpc.clock.jump(after(60));
    await rotation.start(BY, false);
    await next();
    await certificate(60);
    await rotation.rollback(BY, false);
    const says = refusal(
      'rotation',
      /^it is taken back already: root \w+ signs again; .* rotate next removes root/,
    );
    await expect(rotation.rollback(BY, false)).rejects.toThrow(says);
    expect((await rotation.status()).active.serial).toBe(rpc.root.serial);
  });

  test('is refused where no rotation is under way, as the next step is', async () => {
    const says = refusal('rotation', /^no rotation is under way: chancery-ca rotate begins one$/);
    await expect(rotation.rollback(BY, false)).rejects.toThrow(says);
    await expect(next()).rejects.toThrow(says);
  });
});

describe('a crash', () => {
  const commands = [() => rotation.start(BY, false), () => next(), () => next()];
  /** A new process knows nothing but the records. */
  const restart = async (): Promise<void> => {
    vi.restoreAllMocks();
    const authorities = await Authorities.open(rpc);
    expect(() => authorities.issuer(rpc.clock.now())).not.toThrow();
    rotation = openRotation(depsOf(rpc, authorities));
  };

  test.each([0, 1, 2, 3])('after write %i of each command leaves what can go on', async (n) => {
    for (const command of commands) {
      const { stage } = await rotation.status();
      killAfter(n);
      await command().catch(() => {});
      await restart();
      // The answer was lost, and the step may have been made all the same: the operator looks first.
      if ((await rotation.status()).stage === stage) await command();
    }
    for (let left = 0; (await rotation.status()).stage !== 'idle' && left < 3; left += 1) await next();
    expect((await states()).filter((each) => each !== 'removed')).toEqual(['active']);
    expect((await rpc.store.authorities()).filter(({ state }) => state === 'active')).toHaveLength(2);
  });

  /** The n-th write of authorities from now is made and its answer is lost, as all that follow. */
  function killAfter(n: number): void {
    let left = n;
    for (const name of ['append', 'saveAuthority', 'moveAuthorities'] as const) {
      const write = rpc.store[name].bind(rpc.store) as (...args: unknown[]) => Promise<never>;
      vi.spyOn(rpc.store, name).mockImplementation(async (...args: unknown[]) => {
        if (left < 0) throw new Error('killed');
        left -= 1;
        const answer = await write(...args);
        if (left < 0) throw new Error('killed');
        return answer;
      });
    }
  }
});

test('of two commands at once one root is left', async () => {
  const other = openRotation(depsOf(rpc));
  await Promise.allSettled([rotation.start(BY, false), other.start(BY, false)]);
  expect((await states()).toSorted()).toContain('published');
  await expect(rotation.start(BY, false)).rejects.toThrow(
    refusal('rotation', /^a rotation is under way \(published\): chancery-ca rotate status, then /),
  );
  await next();
  await next();
  expect((await states()).filter((each) => each === 'active')).toHaveLength(1);
});

test('the intermediate is replaced at once, under the same root and bundle', async () => {
  const [before, trusted] = [rpc.authorities.issuer(rpc.clock.now()), bundle()];
  expect((await rotation.renewIntermediate(BY, false)).stage).toBe('idle');
  const now = rpc.authorities.issuer(rpc.clock.now());
  expect(now.serial).not.toBe(before.serial);
  expect(now.certificate.issuer).toEqual(before.certificate.issuer);
  expect(bundle()).toBe(trusted);
  await rpc.authorities.refresh();
  expect(rpc.authorities.issuer(rpc.clock.now()).serial).toBe(now.serial);
});

test('a dry run moves nothing, and says why a step may not be made', async () => {
  expect((await rotation.start(BY, true)).stage).toBe('idle');
  await rotation.renewIntermediate(BY, true);
  agent();
  await rotation.start(BY, false);
  const before = await rpc.store.authorities();
  await expect(next({ dryRun: true })).rejects.toThrow(/^not yet: /);
  expect(await next({ dryRun: true, without: [id] })).toMatchObject({ stage: 'published', waits: [] });
  await rotation.rollback(BY, true);
  expect(await rpc.store.authorities()).toEqual(before);
});

test('a glance counts at most every 30 s', async () => {
  const reads = vi.spyOn(rpc.store, 'authorities');
  expect(await rotation.glance()).toEqual({ stage: 'idle', stragglers: 0, certificates: 0 });
  await rotation.glance();
  expect(reads).toHaveBeenCalledTimes(1);
  rpc.clock.jump(after(31));
  await rotation.glance();
  expect(reads).toHaveBeenCalledTimes(2);
});

test('after a leap of the clock nothing is removed, and all else goes on', async () => {
  await rotation.start(BY, false);
  let passed = 0;
  steady = steadyClock(
    rpc.clock,
    cautiousTime(rpc.clock, () => passed),
  );
  rpc.clock.jump(after(86_400));
  await expect(next()).resolves.toMatchObject({ stage: 'retiring' });
  await expect(next()).rejects.toThrow(refusal('rotation', /clock went ahead by 86400 s more than has/));
  await expect(next({ dryRun: true })).rejects.toThrow(refusal('rotation', /restart the CA/));
  rpc.clock.jump(after(30));
  passed = 30_000;
  await expect(rotation.rollback(BY, true)).resolves.toMatchObject({ stage: 'retiring' });
  rpc.clock.jump(after(90));
  await expect(next()).resolves.toMatchObject({ stage: 'idle' });
});

test('a clock that goes as time does is steady, and one that is set back', () => {
  let passed = 5;
  const ensure = steadyClock(
    rpc.clock,
    cautiousTime(rpc.clock, () => passed),
  );
  rpc.clock.jump(after(86_400));
  passed += 86_400_000 - 60_000;
  expect(ensure).not.toThrow();
  passed -= 1_000;
  expect(ensure).toThrow(refusal('rotation', /ahead by 61 s/));
  rpc.clock.jump(after(-86_400));
  expect(ensure).not.toThrow();
});
