/** `accept-loss`: a restored CA issues without what agents would hand back. */
import { type Command, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { OPERATOR_FLAGS, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

export const acceptLoss: Command = {
  says:
    'After a restore: the CA waits no longer for what gateways hand back, and issues. Revocations that nobody has ' +
    'handed back until then are forgotten.',
  flags: {
    reason: { type: 'string', value: 'TEXT', says: 'Why, for the audit log; required.' },
    yes: { type: 'boolean', says: 'Do it; without it, only say what the CA waits for.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    if (invocation.positionals.length > 0) throw new MisuseError('accept-loss takes flags alone');
    const reason = invocation.text('reason') ?? '';
    if (reason.trim() === '') throw new MisuseError('--reason is required: why the loss is accepted');
    const dryRun = !invocation.has('yes');
    const { waited } = await callOperator(invocation, (client) => client.acceptLoss, { reason, dryRun });
    if (invocation.has('json')) printJson(io, { waited, issues: !dryRun, reason });
    else if (dryRun) io.out(`${printable(waited)}\nGive --yes to issue without that.\n`);
    else io.out('the CA issues again, without what was not handed back\n');
    return 0;
  },
};
