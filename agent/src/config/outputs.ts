/** An entry of `outputs` of the agent's config. */
import { text } from '@chancery/shared/config/schema.ts';
import { z } from 'zod';

const file = z.string().min(1);

/** Linux has 32 bits for a uid or gid, and the last number means "do not change" (chown(2)). */
const id = z.int().min(0).max(4_294_967_294);

export const OutputConfig = z.strictObject({
  dir: file.describe(
    'Folder for svid.pem, key.pem and bundle.pem, switched together. Relative to this file.',
  ),
  mode: text('a file mode such as "0600", in quotes,')
    .regex(/^0[0-7]{3}$/, { error: 'a file mode such as 0600 or 0640, in quotes', abort: true })
    .regex(/0$/, 'a file mode such as 0600 or 0640 is expected: only the owner and the group may have rights')
    .default('0600')
    .describe('Mode of key.pem, in quotes; the other two are public: 0644.'),
  chain: z
    .enum(['short', 'full'])
    .optional()
    .describe(
      'What svid.pem has: `short` up to the root in bundle.pem, or `full`, also for peers that trust only a CA ' +
        'above the root, where the CA has its cross-certificate (default: short).',
    ),
  crl: z
    .boolean()
    .optional()
    .describe('Also writes crl.pem, 0644: the revocation lists (CRL) of all issuers (default: false).'),
  uid: id.optional().describe("Owner of the files (default: the agent's own)."),
  gid: id.optional().describe("Group of the files (default: the agent's own)."),
  command: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(
      'Run after each change: a program and its arguments, without a shell, at most 30 s. ' +
        'What it leaves running ends with it.',
    ),
  signal: z
    .strictObject({
      pidFile: file.describe(
        'Where the process writes its pid. Of root, the agent or the owner of the files. Relative to this file.',
      ),
      name: z.enum(['SIGHUP', 'SIGUSR1', 'SIGUSR2']).default('SIGHUP').describe('The signal.'),
      program: z
        .string()
        .min(1)
        .optional()
        .describe('The name of its program, as ps shows it; another program is not signalled.'),
    })
    .optional()
    .describe('Sent after each change, to a process that runs as uid, or as the agent if uid is not set.'),
});
