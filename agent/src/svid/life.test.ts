import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { type KeylessSvid, type LifeDeps, SvidLife } from './life.ts';

const START = new Date('2026-06-01T00:00:00Z');
const TTL_SECONDS = 600;
const away = new IdentityError('unavailable', 'the CA does not answer');

/** Its key is the name of one: a life does not look at it. */
interface Named extends KeylessSvid {
  readonly key: string;
}

let clock: ManualClock;
let lines: string[];
let stop: AbortController;
beforeEach(() => {
  clock = new ManualClock(START);
  lines = [];
  stop = new AbortController();
});

const later = (seconds: number): Date => addSeconds(START, seconds);
const svidAt = (name: string, key: string, ttl = TTL_SECONDS): Named => ({
  id: parseSpiffeId(`spiffe://prod.example/${name}`),
  chain: [],
  key,
  notBefore: clock.now(),
  notAfter: addSeconds(clock.now(), ttl),
  renewAfter: addSeconds(clock.now(), ttl / 2),
});

function lifeOf(deps: Partial<LifeDeps<Named>> & Pick<LifeDeps<Named>, 'obtain'>): SvidLife<Named> {
  const hear = (_: object, message: string): void => void lines.push(message);
  const log = { ...silentLog, info: hear, warn: hear, error: hear };
  return new SvidLife<Named>({ clock, random: () => 0.5, log, ...deps });
}

/** Keeps it until the end of the test. */
function keep(life: SvidLife<Named>): void {
  life.keep(stop.signal).catch(() => {});
}

/** Moves the clock, and waits until every woken sleeper sleeps again: each life sleeps twice, once for a clock that is set back. */
async function moveTo(seconds: number, sleepers: number): Promise<void> {
  await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThanOrEqual(sleepers));
  clock.advanceTo(later(seconds));
}

describe('the first SVID', () => {
  test('is missing before there is one', () => {
    const life = lifeOf({ obtain: async () => svidAt('web', 'k1') });
    expect(() => life.svid.current()).toThrow(refusal('unavailable', /^there is no SVID yet$/));
  });

  test('is saved before it is published', async () => {
    const steps: string[] = [];
    const save = async ({ key }: Named): Promise<void> => {
      await Promise.resolve();
      steps.push(`save ${key}`);
    };
    const life = lifeOf({ obtain: async () => svidAt('web', 'k1'), save });
    life.svid.onChange(({ key }) => steps.push(`publish ${key}`));
    expect(await life.join(stop.signal)).toBe(life.svid.current());
    expect(steps).toEqual(['save k1', 'publish k1']);
    expect(lines).toEqual(['joined']);
  });

  test('is published although it cannot be saved', async () => {
    const save = async (): Promise<void> => {
      throw new IdentityError('file', 'disk full');
    };
    const life = lifeOf({ obtain: async () => svidAt('web', 'k1'), save });
    await life.join(stop.signal);
    expect(life.svid.current().key).toBe('k1');
    expect(lines.at(-1)).toBe('the SVID could not be saved; after a restart the agent must join again');
  });

  test('is obtained again after a failure, and not where the caller gives up', async () => {
    const obtain = vi.fn(async () => svidAt('web', 'k2')).mockRejectedValueOnce(away);
    const joined = lifeOf({ obtain }).join(stop.signal);
    await moveTo(2, 1);
    expect((await joined).key).toBe('k2');
    const refused = lifeOf({ obtain: () => Promise.reject(away), givesUp: () => true });
    await expect(refused.join(stop.signal)).rejects.toBe(away);
  });
});

describe('a saved SVID', () => {
  const neverAsked = { obtain: () => Promise.reject(new Error('asked the CA')) };

  test('is published and not saved again', () => {
    const save = vi.fn();
    const life = lifeOf({ ...neverAsked, save });
    const saved = svidAt('web', 'k1');
    life.resume(saved);
    expect(life.svid.current()).toBe(saved);
    expect(save).not.toHaveBeenCalled();
    expect(lines).toEqual(['started with the saved SVID']);
  });

  test('that is due is renewed at once', async () => {
    const saved = svidAt('web', 'k1');
    clock.jump(saved.renewAfter);
    const obtain = vi.fn(async () => svidAt('web', 'k2'));
    const life = lifeOf({ obtain });
    life.resume(saved);
    keep(life);
    await vi.waitFor(() => expect(life.svid.current().key).toBe('k2'));
    expect(obtain).toHaveBeenCalledWith(saved);
    expect(lines).toEqual(['started with the saved SVID; renewing it now', 'rotated']);
    stop.abort();
  });
});

describe('a life that is kept', () => {
  test('says why a renewal failed until one works, and keeps what it has', async () => {
    const obtain = vi.fn(async () => svidAt('web', 'k2')).mockRejectedValueOnce(away);
    const life = lifeOf({ obtain });
    life.resume(svidAt('web', 'k1'));
    keep(life);
    await moveTo(TTL_SECONDS / 2, 2);
    await vi.waitFor(() => expect(life.renewalFailure()).toBe('the CA does not answer'));
    expect(life.svid.current().key).toBe('k1');
    await moveTo(TTL_SECONDS / 2 + 5, 2);
    await vi.waitFor(() => expect(life.svid.current().key).toBe('k2'));
    expect(life.renewalFailure()).toBeUndefined();
    stop.abort();
  });

  test('says that the SVID expired where nothing renewed it in time', async () => {
    const life = lifeOf({ obtain: () => new Promise(() => {}) });
    life.resume(svidAt('web', 'k1'));
    keep(life);
    await moveTo(TTL_SECONDS + 1, 2);
    await vi.waitFor(() => expect(life.renewalFailure()).toMatch(/^the SVID expired before it was renewed/));
    stop.abort();
  });

  test('saves and publishes each new SVID', async () => {
    const saved: string[] = [];
    const obtain = async (current: Named | undefined) => svidAt('web', `${current?.key}+`);
    const life = lifeOf({ obtain, save: async ({ key }) => void saved.push(key) });
    life.resume(svidAt('web', 'k'));
    keep(life);
    await moveTo(TTL_SECONDS / 2, 2);
    await vi.waitFor(() => expect(life.svid.current().key).toBe('k+'));
    expect(saved).toEqual(['k+']);
    stop.abort();
  });

  test('does not depend on another life beside it', async () => {
    const short = lifeOf({ obtain: async () => svidAt('short', 's2') });
    const long = lifeOf({ obtain: () => Promise.reject(away) });
    short.resume(svidAt('short', 's1'));
    long.resume(svidAt('long', 'l1', 2 * TTL_SECONDS));
    keep(short);
    keep(long);
    await moveTo(TTL_SECONDS / 2, 4);
    await vi.waitFor(() => expect(short.svid.current().key).toBe('s2'));
    await moveTo(TTL_SECONDS - 1, 4);
    expect(long.renewalFailure()).toBeUndefined();
    await moveTo(TTL_SECONDS, 4);
    await vi.waitFor(() => expect(long.renewalFailure()).toBe('the CA does not answer'));
    expect(long.svid.current().key).toBe('l1');
    expect(short.renewalFailure()).toBeUndefined();
    stop.abort();
  });
});
