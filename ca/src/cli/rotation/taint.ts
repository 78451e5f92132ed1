/** `taint`: an authority whose key is stolen. */
import type { TaintResponse } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { type Command, type Io, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { waitedFor } from '../bar.ts';
import { instant, OPERATOR_FLAGS, printJson, printTable } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';
import { operatorsText } from './text.ts';

/** A root that has to be made is waited for: agents acknowledge it within 10 s or are left behind. */
const SECONDS = 60;
const MAX_ROWS = 20;
const NEXT =
  'next: `chancery-ca backup`, since backups of before may lack the key of that root; ' +
  'then, if no root stands by, `chancery-ca rotate standby`\n';

export const taint: Command = {
  says:
    'Revokes an authority whose key was stolen: everything that it signed is refused at once, another one signs, and ' +
    'agents get new certificates. This cannot be taken back.',
  positionals: 'AUTHORITY',
  flags: {
    reason: { type: 'string', value: 'TEXT', says: 'Why, for the audit log; required.' },
    yes: { type: 'boolean', says: 'Do it. Without this flag the command says what it would do, and fails.' },
    'dry-run': { type: 'boolean', says: 'Only say what it would do, and what that costs.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [authority, ...more] = invocation.positionals;
    if (authority === undefined || more.length > 0)
      throw new MisuseError('expected one authority, as chancery-ca authorities prints it');
    const [reason = '', wantsDryRun] = [invocation.text('reason'), invocation.has('dry-run')];
    if (reason.trim() === '') throw new MisuseError('--reason TEXT is required; the audit log keeps it');
    const dryRun = wantsDryRun || !invocation.has('yes');
    const request = { authority, reason, dryRun };
    const call = () => callOperator(invocation, (client) => client.taint, request, SECONDS);
    const report = await waitedFor(io, 'the CA takes the authority away', call);
    if (invocation.has('json')) printJson(io, report);
    else printReport(io, report, dryRun);
    ensure(
      wantsDryRun || !dryRun,
      'rotation',
      'nothing was changed: this cannot be taken back, so it needs --yes',
    );
    return 0;
  },
};

function printReport(io: Pick<Io, 'out' | 'columns'>, report: TaintResponse, dryRun: boolean): void {
  const { authority, root, agents, refusedTotal, byHand, byHandTotal } = report;
  if (authority?.kind === 'jwt') {
    io.out(jwtText(report, dryRun));
    return;
  }
  const named = `${authority?.kind} ${authority?.serial}`;
  const many = `${refusedTotal?.certificates ?? 0n} certificates of ${refusedTotal?.spiffeIds ?? 0n} SPIFFE IDs`;
  if (dryRun) {
    io.out(`would taint ${named}: ${many} are refused from then on, and ${agents} connected agents renew\n`);
    io.out(`signs then: ${root === undefined ? 'a root that is still to be made' : `root ${root.serial}`}\n`);
  } else {
    io.out(`tainted ${named} (revocation ${report.revocation}): ${many} are refused\n`);
    io.out(`root ${root?.serial} signs; ${agents} connected agents renew within seconds\n`);
    io.out(operatorsText(authority?.kind));
    if (authority?.kind === 'root') io.out(NEXT);
  }
  for (const each of report.above) io.out(`${printable(each)}\n`);
  if (byHand.length === 0) return;
  const { certificates = 0n } = byHandTotal ?? {};
  io.out(`by hand: the holders of ${certificates} certificates may not know that root, and nobody whom they trust can
tell them. Give each the new bundle (chancery-ca bundle) in its config, remove its dataDir/state.json, and restart it:
`);
  printTable(
    io,
    ['SPIFFE ID', 'CERTIFICATES', 'LAST ENDS'],
    byHand.slice(0, MAX_ROWS).map((each) => [each.spiffeId, String(each.certificates), instant(each.until)]),
  );
  if (byHand.length > MAX_ROWS) io.out(`and ${byHand.length - MAX_ROWS} more: --json\n`);
}

/** Of a JWT key: no certificate is under it. */
function jwtText({ authority, jwtKey, revocation, agents }: TaintResponse, dryRun: boolean): string {
  const key = `JWT key ${authority?.serial}`;
  if (!dryRun)
    return `tainted ${key} (revocation ${revocation}): no token of it is good, in key set and bundle from now on
JWT key ${jwtKey?.serial} signs; ${agents} connected agents are told\n`;
  const signs = jwtKey === undefined ? 'a JWT key that is still to be made' : `JWT key ${jwtKey.serial}`;
  return `would taint ${key}: every token that it has signed is refused from then on\nsigns then: ${signs}\n`;
}
