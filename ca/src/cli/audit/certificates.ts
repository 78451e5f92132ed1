/** `audit certificates`: compares the unexpired certificates on record with issuers, resources and the audit log. */
import type { CertificatePlace, CertificateProblem } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { printJson, printTable } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** Status 1 where one has a problem. */
export async function checkCertificates(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const problems: CertificateProblem[] = [];
  let checked = 0;
  let after: CertificatePlace | undefined;
  do {
    io.signal.throwIfAborted();
    const page = await callOperator(invocation, (client) => client.checkCertificates, { after });
    problems.push(...page.problems);
    checked += page.checked;
    after = page.next;
    io.progress?.(after === undefined ? '' : `${checked} certificates`);
  } while (after !== undefined);
  if (invocation.has('json')) printJson(io, { checked, problems });
  else if (problems.length > 0)
    printTable(
      io,
      ['SERIAL', 'SPIFFE ID', 'PROBLEM'],
      problems.map(({ serial, spiffeId, problem }) => [serial, spiffeId, problem]),
    );
  else
    io.out(
      `good: ${checked} unexpired certificates agree with their issuers, the resources and the audit log\n`,
    );
  return problems.length === 0 ? 0 : 1;
}
