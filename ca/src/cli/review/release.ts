/** `release`: the CA forgets what it holds a machine to, such as the VM behind a name or the counters of a TPM. */
import { type Command, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { OPERATOR_FLAGS, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

export const release: Command = {
  says: 'Forgets what the CA holds a machine to: the VM of a pinned name (azure), the counters of a TPM (tpm).',
  positionals: 'PLATFORM/NODE',
  flags: {
    reason: { type: 'string', value: 'TEXT', says: 'Why, for the audit log; required.' },
    yes: {
      type: 'boolean',
      says: 'Do it. Without this flag the command says what it would forget, and fails.',
    },
    'dry-run': { type: 'boolean', says: 'Only show what would be forgotten.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [node, ...more] = invocation.positionals;
    if (node === undefined || more.length > 0 || !/^[^/]+\/./.test(node))
      throw new MisuseError('give one PLATFORM/NODE, as `chancery-ca issued --json` prints both');
    const [reason, wantsDryRun] = [invocation.text('reason') ?? '', invocation.has('dry-run')];
    if (reason.trim() === '') throw new MisuseError('--reason is required: why the machine may start anew');
    const dryRun = wantsDryRun || !invocation.has('yes');
    const { state } = await callOperator(invocation, (client) => client.releaseNode, {
      node,
      reason,
      dryRun,
    });
    if (invocation.has('json')) printJson(io, { node, state, reason });
    else io.out(`${dryRun ? 'would release' : 'released'} ${node}: forgets ${printable(state)}\n`);
    ensure(
      wantsDryRun || !dryRun,
      'node_state',
      'nothing was changed: this cannot be taken back, so it needs --yes',
    );
    return 0;
  },
};
