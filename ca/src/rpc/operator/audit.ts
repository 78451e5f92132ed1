/** The operator's call that looks into the audit log, over gRPC. */
import type { QueryAuditRequest, QueryAuditResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { AuditStatus } from '@chancery/proto/gen/chancery/v1/serving.ts';
import { DECISIONS } from '@chancery/shared/audit/leaves.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { LogStatus } from '../../log/retention.ts';
import type { Operator } from '../../operator/operator.ts';
import { KEPT_EXPIRED_MS } from '../../store/kept.ts';
import type { EntryQuery, FoundEntries } from '../../store/log-store.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** The method names the verb of the operator, which checks who asks. */
export const auditMethods = (operator: Operator) =>
  [
    unary('QueryAudit', OperatorService.queryAudit, async (request, caller) => {
      const audit = operator.audit(askerOf(caller));
      return message(await audit(queryOf(request)));
    }),
    unary('GetAuditStatus', OperatorService.getAuditStatus, async (_, caller) =>
      statusMessage(await operator.auditStatus(askerOf(caller))(undefined)),
    ),
    unary('CheckCertificates', OperatorService.checkCertificates, async ({ after }, caller) => {
      const from = after && { notAfter: Number(after.notAfter), n: Number(after.n) };
      const { next, ...page } = await operator.checkCertificates(askerOf(caller))(from);
      const place = next && { notAfter: BigInt(next.notAfter), n: BigInt(next.n) };
      const problems = page.problems.map(({ id: spiffeId, ...each }) => ({ ...each, spiffeId }));
      return { checked: page.checked, problems, next: place };
    }),
  ] as const;

/** Throws message_parse. */
function queryOf({ decision, since, until, place, ...query }: QueryAuditRequest): EntryQuery {
  const known = DECISIONS.find((each) => each === decision);
  ensure(
    decision === '' || known !== undefined,
    'message_parse',
    `decision is one of ${DECISIONS.join(', ')}`,
  );
  return {
    ...query,
    decision: known,
    since: Number(since),
    until: until === 0n ? Number.MAX_SAFE_INTEGER : Number(until),
    place: place === undefined ? undefined : Number(place),
  };
}

const statusMessage = ({ keepSeconds = 0, nextAt, ...status }: LogStatus): AuditStatus => ({
  entries: BigInt(status.entries),
  pruned: BigInt(status.pruned),
  keepSeconds: BigInt(keepSeconds),
  nextAt: nextAt === undefined ? 0n : unixSeconds(nextAt),
  together: BigInt(status.together),
  lacking: BigInt(status.lacking),
  certificateDays: BigInt(KEPT_EXPIRED_MS / 86_400_000),
  standstill: status.standstill?.reason ?? '',
  standstillSince: status.standstill === undefined ? 0n : unixSeconds(status.standstill.since),
  waiting: BigInt(status.waiting.events),
  waitingSince: status.waiting.since === undefined ? 0n : unixSeconds(status.waiting.since),
});

const message = ({ found, place, newest, more }: FoundEntries): QueryAuditResponse => ({
  entries: found.map(({ index, text }) => ({ index: index === undefined ? undefined : BigInt(index), text })),
  place: BigInt(place),
  newest: BigInt(newest),
  more,
});
