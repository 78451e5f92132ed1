/** `issue`: one certificate for a job that runs no agent: joins, writes files, exits. */
import { join, resolve } from 'node:path';
import { type Command, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { writeOutput } from '../../outputs/files.ts';

import type { RunCommandDeps } from '../run.ts';
import { JOB_FLAGS, jobSettings, timeoutOf } from './settings.ts';
import { within } from './within.ts';

/** Writes the folder only once there is a certificate. Throws unavailable when --timeout is over. */
export const issue = (deps: RunCommandDeps): Command => ({
  says: 'Joins once, writes svid.pem, key.pem (0600) and bundle.pem to a folder, and exits: for jobs without an agent.',
  flags: {
    out: { type: 'string', short: 'o', value: 'DIR', says: 'The folder, made if it is missing.' },
    ...JOB_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const out = invocation.text('out');
    if (out === undefined) throw new MisuseError('expected --out DIR');
    const seconds = timeoutOf(invocation);
    const settings = jobSettings(invocation, out);
    const { joinOnce } = await import('../../agent.ts');
    const log = deps.logAt('warn');
    const { svid, bundle } = await within(seconds, io.signal, (until, givesUp) =>
      joinOnce(settings, { ...deps, log, env: io.env, givesUp }, until),
    );
    const dir = resolve(out);
    writeOutput({ dir, mode: '0600' }, svid, bundle, deps.clock.now());
    const files = { svid: join(dir, 'svid.pem'), key: join(dir, 'key.pem'), bundle: join(dir, 'bundle.pem') };
    const notAfter = svid.notAfter.toISOString();
    if (invocation.has('json'))
      io.out(`${JSON.stringify({ spiffeId: svid.id, notAfter, files }, null, 2)}\n`);
    else io.out(`${svid.id} until ${notAfter}, in ${dir}\n`);
    return 0;
  },
});
