import { describe, expect, test, vi } from 'vitest';
import { seeded } from '../../../test/kit/random.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { type Place, type PlaceSettings, Places } from './places.ts';

/** The rules of `Places`, by a look at every place: the first of these has to give way. */
interface Model {
  readonly name: number;
  readonly address: string;
  readonly network: string | undefined;
  readonly place: Place;
  silentSince: number;
  owed: (() => void)[];
  heard: boolean;
}

const sizeOf = (held: readonly Model[], { address, network }: Model): number =>
  held.filter((each) => (each.network ?? each.address) === (network ?? address)).length;

/** The order in which these give way. */
function inOrder(held: readonly Model[], few: number): readonly Model[] {
  const weight = (each: Model): number => Math.max(few, sizeOf(held, each));
  return held.toSorted((a, b) => weight(b) - weight(a) || a.silentSince - b.silentSince);
}

function nextToGo(
  held: readonly Model[],
  { few, givesWay }: PlaceSettings,
  newcomers: number,
): Model | undefined {
  const silent = held.filter(({ owed }) => owed.length === 0);
  if (givesWay === 'anyone') return inOrderWithin(held, silent, few);
  const owners = new Set(held.map(({ address, network }) => network ?? address)).size;
  const least = newcomers + 2;
  const above = Math.max(least, held.length / owners);
  const large = (size: number) => (each: Model) => sizeOf(held, each) >= size;
  return (
    inOrderWithin(held, silent.filter(large(above)), 1) ?? inOrderWithin(held, held.filter(large(least)), 1)
  );
}

const inOrderWithin = (held: readonly Model[], among: readonly Model[], few: number): Model | undefined =>
  inOrder(held, few).find((each) => among.includes(each));

test.each<[string, Partial<PlaceSettings>]>([
  ['anyone', { givesWay: 'anyone', few: 3 }],
  ['anyone, one by one', { givesWay: 'anyone', few: 1 }],
  ['only larger ones', { givesWay: 'larger', few: 1 }],
])('where %s give way, the one goes that a look at all places finds', (_, given) => {
  const settings: PlaceSettings = {
    what: 'places',
    total: 20,
    perAddress: 1000,
    perNetwork: 1000,
    few: 1,
    givesWay: 'anyone',
    replacesOwn: false,
    ...given,
  };
  const random = seeded(7);
  const places = new Places(settings);
  let [held, turn, gone]: [Model[], number, number] = [[], 0, 0];
  const next = (): number => {
    turn += 1;
    return turn;
  };
  const enter = (name: number): void => {
    const network = random.int(2) === 0 ? `network-${random.int(4)}` : undefined;
    const address = `address-${network ?? 'lone'}-${random.int(6)}`;
    const before = held;
    const newcomers = before.filter((each) => (each.network ?? each.address) === (network ?? address)).length;
    // Heard ones are passed over, each once, before anybody goes.
    let expected = before.length < settings.total ? undefined : nextToGo(before, settings, newcomers);
    while (expected?.heard === true) {
      expected.heard = false;
      expected.silentSince = next();
      expected = nextToGo(before, settings, newcomers);
    }
    const tenant = {
      lose: () => {
        held = held.filter((each) => each.name !== name);
        losers.push(name);
      },
      heard: () => toHear.delete(name),
    };
    losers.length = 0;
    const keys = network === undefined ? { address } : { address, network };
    if (before.length >= settings.total && expected === undefined) {
      expect(() => places.take(keys, tenant)).toThrow('are open');
      return;
    }
    const place = places.take(keys, tenant);
    expect(losers).toEqual(expected === undefined ? [] : [expected.name]);
    gone += losers.length;
    held.push({ name, address, network, place, silentSince: next(), owed: [], heard: false });
  };
  const losers: number[] = [];
  const toHear = new Set<number>();
  for (let name = 0; name < 3000; name += 1) {
    enter(name);
    const one = held[random.int(held.length)];
    if (one === undefined) continue;
    const act = random.int(5);
    if (act === 0) one.owed.push(one.place.answer());
    else if (act === 1 && one.owed.length > 0) {
      one.owed.pop()?.();
      one.silentSince = next();
    } else if (act === 2) {
      one.heard = true;
      toHear.add(one.name);
    } else if (act === 3 && random.int(3) === 0) {
      one.place.leave();
      held = held.filter((each) => each !== one);
    }
  }
  expect(gone).toBeGreaterThan(100);
  expect(places.open).toBe(held.length);
});

test.each([
  ['of its share, where that is full', 1, /^a was silent while all 1 connections of a were open$/],
  ['of all places, where they are taken', 9, /^a was silent while all places were taken$/],
])('a place that gives way is told %s', async (_, perAddress, says) => {
  const places = new Places({
    what: 'connections',
    total: perAddress === 1 ? 9 : 1,
    perAddress,
    perNetwork: 9,
    few: 1,
    givesWay: 'anyone',
    replacesOwn: true,
  });
  const lost = expect(places.take({ address: 'a' }).listen(new Promise(() => {}))).rejects.toThrow(says);
  places.take({ address: perAddress === 1 ? 'a' : 'b' });
  await lost;
});

describe('a place', () => {
  const placesOf = (given: Partial<PlaceSettings>): Places =>
    new Places({
      what: 'connections',
      total: 9,
      perAddress: 9,
      perNetwork: 9,
      few: 1,
      givesWay: 'anyone',
      replacesOwn: false,
      ...given,
    });
  const [a, b, c] = [{ address: 'a' }, { address: 'b' }, { address: 'c' }];

  test('that is left twice leaves the next one of its address in its share', () => {
    const places = placesOf({ perAddress: 1 });
    const first = places.take(a);
    first.leave();
    places.take(a);
    first.leave();
    expect(() => places.take(a)).toThrow(refusal('rate', /^a has 1 connections open$/));
    expect(places.open).toBe(1);
  });

  test('that owes two answers is not silent after one of them, however often that is given', () => {
    const places = placesOf({ total: 1 });
    const place = places.take(a);
    const [one, other] = [place.answer(), place.answer()];
    one();
    one();
    expect(() => places.take(b)).toThrow(refusal('rate', /^1 connections are open$/));
    other();
    places.take(b);
  });

  test('that was left gives way to nobody, though its answer comes later', () => {
    const places = placesOf({ total: 1 });
    const [left, open] = [vi.fn(), vi.fn()];
    const place = places.take(a, { lose: left });
    const answered = place.answer();
    place.leave();
    answered();
    places.take(b, { lose: open });
    places.take(c);
    expect([left.mock.calls.length, open.mock.calls.length]).toEqual([0, 1]);
  });

  test('is found for a newcomer after 16 others that have spoken', () => {
    const places = placesOf({ total: 30, perAddress: 30 });
    let passed = 0;
    const heard = (): boolean => {
      passed += 1;
      return passed < 100;
    };
    for (let n = 0; n < 30; n += 1) places.take(a, { heard });
    places.take(b);
    expect([passed, places.open]).toEqual([16, 30]);
  });
});
