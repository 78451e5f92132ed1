/** Resources that are off from an instant on. */
import { z } from 'zod';

/** The field of every kind of resource. */
export const Until = z.iso
  .datetime({ offset: true, error: 'an instant as 2027-01-31T18:00:00Z is expected, with its zone' })
  .optional()
  .describe('Off from this instant on, RFC 3339: it gives, names and allows nothing, and denies nothing.');

/** The field of every kind of resource. Only the CA keeps it: agents are not sent it. */
export const ReviewBy = z.iso
  .datetime({ offset: true, error: 'an instant as 2027-01-31T18:00:00Z is expected, with its zone' })
  .optional()
  .describe(
    'When somebody must have looked at it again, RFC 3339; for `chancery-ca review`. No rule uses it.',
  );

/** Of `observe` and `everything`, which end within 30 days from when they are applied. */
export const Ends = z.strictObject({
  until: z.iso
    .datetime({ offset: true, error: 'an instant as 2027-01-31T18:00:00Z is expected, with its zone' })
    .describe('Off from this instant on, RFC 3339: at most 30 days from when it is applied.'),
});

export interface Ending {
  readonly until?: string | undefined;
  readonly observe?: { readonly until: string } | undefined;
  readonly everything?: { readonly until: string } | undefined;
}

/** Undefined for what has no end. */
export const endOf = ({ until }: Ending): Date | undefined =>
  until === undefined ? undefined : new Date(until);

/** Whether a resource is off. */
export function hasEnded(resource: Ending, now: Date): boolean {
  const end = endOf(resource);
  return end !== undefined && end <= now;
}

/** Whether its gateway lets pass what rules deny. */
export const observesAt = ({ observe }: Ending, now: Date): boolean =>
  observe !== undefined && now < new Date(observe.until);

/** When the resource ends, and when parts of it do. */
export const endsOf = ({ until, observe, everything }: Ending): readonly Date[] =>
  [until, observe?.until, everything?.until].flatMap((end) => (end === undefined ? [] : [new Date(end)]));

/** Whether a part that ends by itself is there and off. */
export const isOver = (part: Ending['observe'], now: Date): boolean =>
  part !== undefined && new Date(part.until) <= now;

/** What stands at `now`: without what has ended. The same objects where nothing has. */
export function standing<T extends Ending>(resources: readonly T[], now: Date): readonly T[] {
  return resources.flatMap((each) => {
    if (hasEnded(each, now)) return [];
    if (endsOf(each).every((end) => end > now)) return [each];
    const off: Ending = {
      ...(isOver(each.observe, now) ? { observe: undefined } : {}),
      ...(isOver(each.everything, now) ? { everything: undefined } : {}),
    };
    return [{ ...each, ...off }];
  });
}
