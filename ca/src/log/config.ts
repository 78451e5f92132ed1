/** What the config says of the audit log. */
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { by, DURATION, duration, text } from '@chancery/shared/config/schema.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';

const DAY = 86_400;

const Webhook = z.strictObject({
  url: address.describe('Where each copy is posted: an https address; http on loopback alone.'),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("PEM file of roots for it, in place of the system's. Relative to this file."),
});

export const AuditConfig = z.strictObject({
  checkpointCopies: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Folder on another machine or mount for copies of checkpoints; it must exist. Relative to this file.',
    ),
  checkpointWebhook: Webhook.optional().describe('Who is sent copies of checkpoints.'),
  copyEvery: duration('1h').describe(
    'The shortest time between two copies, to each of the two. Above 2h, raise the 3h of the alert ' +
      'ChanceryCheckpointUncopied, too.',
  ),
  keep: text(DURATION)
    .transform(by(parseDuration))
    .refine((seconds) => seconds >= DAY, 'at least 1d is expected')
    .optional()
    .describe(
      'How long entries are kept, at least 1d; then they are pruned, 65,536 together (default: for ever).',
    ),
});
