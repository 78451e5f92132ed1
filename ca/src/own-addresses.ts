/** Addresses that a CA listens on: two listeners cannot have one. */
import { overlap } from '@chancery/shared/text/address.ts';

interface Listeners {
  readonly listen: string;
  readonly http: { readonly listen: string };
  readonly crl: { readonly listen?: string | undefined };
}

/** The keys of the config whose address another key has already, with a sentence for each. */
export function ownAddressesTwice({ listen, http, crl }: Listeners): readonly (readonly [string, string])[] {
  const places = [
    ['listen', listen],
    ['http', http.listen],
    ['crl', crl.listen],
  ] as const;
  const given = places.flatMap(([key, address]) => (address === undefined ? [] : [{ key, address }]));
  return given.flatMap(({ key, address }, index) => {
    const twin = given.slice(0, index).find((each) => overlap(each.address, address));
    if (twin === undefined) return [];
    return [
      [key, `${key}: ${twin.key} is ${twin.address}, too (${address} here); each needs its own`] as const,
    ];
  });
}
