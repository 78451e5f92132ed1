import { expect, test } from 'vitest';
import { seeded } from '../../../test/kit/random.ts';
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
