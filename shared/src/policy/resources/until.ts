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

interface Ending {
  readonly until?: string | undefined;
}

/** Undefined for what has no end. */
export const endOf = ({ until }: Ending): Date | undefined =>
  until === undefined ? undefined : new Date(until);

/** Whether a resource is off. */
export function hasEnded(resource: Ending, now: Date): boolean {
  const end = endOf(resource);
  return end !== undefined && end <= now;
}
