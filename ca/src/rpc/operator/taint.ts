/** The operator's calls about authorities whose key is stolen, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Authority, TaintResponse } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { nameTextOf } from '@chancery/shared/x509/name-text.ts';
import { homeOf } from '../../keys/standby-keys.ts';
import type { Operator } from '../../operator/operator.ts';
import type { TaintReport } from '../../rotation/taint.ts';
import { type ListedAuthority, listed } from '../../rotation/taint-plan.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';
import { crossUntilOf, heldMessage, jwtKeyMessage, rootMessage, stateOf, totalMessage } from './rotate.ts';

const MAX_LISTED = 1000;

/** Each method names one verb of the operator, which checks who asks. */
export const taintMethods = (operator: Operator) =>
  [
    unary('Taint', OperatorService.taint, async (request, caller) =>
      reportMessage(await operator.taint(askerOf(caller))(request)),
    ),
    unary('ListAuthorities', OperatorService.listAuthorities, async (_, caller) => ({
      authorities: (await operator.authorities(askerOf(caller))(undefined)).map(authorityMessage),
    })),
  ] as const;

const reportMessage = (report: TaintReport): TaintResponse => ({
  authority: authorityMessage(listed(report.authority, report.refused)),
  root: report.root && rootMessage(report.root),
  agents: BigInt(report.agents),
  refused: report.refused.slice(0, MAX_LISTED).map(heldMessage),
  refusedTotal: totalMessage(report.refused),
  byHand: report.byHand.slice(0, MAX_LISTED).map(heldMessage),
  byHandTotal: totalMessage(report.byHand),
  revocation: BigInt(report.revocation?.number ?? 0),
  above: [...report.above],
  jwtKey: report.jwtKey && jwtKeyMessage(report.jwtKey),
});

const stateIn = (each: ListedAuthority['authority']): string =>
  each.kind === 'jwt' ? each.state : stateOf(each);

const authorityMessage = ({
  authority,
  held,
  keyId,
  keySha256,
  toRevokeAbove,
}: ListedAuthority): Authority => ({
  serial: authority.serial,
  kind: authority.kind,
  state: authority.taintedAt === undefined ? stateIn(authority) : 'tainted',
  movedAt: unixSeconds(authority.taintedAt ?? authority.movedAt),
  notAfter: authority.kind === 'jwt' ? 0n : unixSeconds(authority.notAfter),
  algorithm: authority.algorithm,
  keyId,
  keySha256,
  keyHome: authority.kind === 'jwt' ? authority.key.home : homeOf(authority),
  keyReference: authority.key.reference,
  held: totalMessage(held),
  toRevokeAbove,
  ...crossMessage(authority),
});

function crossMessage(
  authority: ListedAuthority['authority'],
): Pick<Authority, 'crossUntil' | 'crossIssuer'> {
  const top = authority.kind === 'jwt' ? undefined : authority.cross?.chain.at(-1);
  if (authority.kind === 'jwt' || top === undefined) return { crossUntil: 0n, crossIssuer: '' };
  const crossIssuer = nameTextOf({ der: top }).issuer;
  return { crossUntil: crossUntilOf(authority), crossIssuer };
}
