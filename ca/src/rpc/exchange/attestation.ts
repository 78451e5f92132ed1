/** Attestation.Attest, Identity.Renew and Identity.IssueX509: the ways to a certificate. */
import type { IssueX509Request, IssueX509Response } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { AttestationService, IdentityService } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import type { ShareKeys } from '@chancery/shared/door/keys.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { RevocablePeer } from '@chancery/shared/revocation/revocation-set.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { issue } from '../../authority/issue.ts';
import { ensureRecorded } from '../../authority/recorded.ts';
import type { Limits, Share } from '../../door/limits.ts';
import { ensureScope, namesList } from '../../registry/derived.ts';
import type { RecordedIssuance } from '../../store/store.ts';
import { comesOf, predecessorOf } from '../../succession/successions.ts';
import { type Caller, limitKeys } from '../caller.ts';
import { bidi, type Stream, unary } from '../methods.ts';
import { type ExchangeDeps, exchange, issuedMessage } from './exchange.ts';

export interface AttestationDeps extends ExchangeDeps {
  readonly limits: Limits;
}

const MAX_CSRS = 64;
/** A certificate that would end sooner is not issued. */
const MIN_LEFT_SECONDS = 1;

/** Anyone may call it. A stranger needs a place and a token of its rate before anything is verified. */
export const attest = (deps: AttestationDeps) =>
  bidi('Attest', AttestationService.attest, async (stream) => {
    const { caller } = stream;
    const share = caller.via === 'tls' ? 'stranger' : 'local';
    await inPlace(stream, { share, keys: limitKeys(caller) }, deps, (placed) =>
      exchange(placed, deps, undefined),
    );
  });

/** Renews the identity of the caller's certificate. The evidence must be of the same node. */
export const renew = (deps: AttestationDeps) =>
  bidi('Renew', IdentityService.renew, async (stream) => {
    const { record, svid } = await certified(stream.caller, deps);
    const { scope } = svid.attested;
    const says = `a certificate of scope ${scope} is not renewed: another one comes of the one that it came of`;
    ensure(scope === undefined, 'not_entitled', says);
    await inPlace(stream, { share: 'certified', keys: { address: nodeName(record) } }, deps, (placed) =>
      exchange(stillCertified(placed, record, deps), deps, record),
    );
  });

/**
 * Runs an exchange in a place of its share. The stream ends if the place goes to another caller. The connection does
 * not give way while the caller waits for the CA.
 */
async function inPlace<Req, Res>(
  stream: Stream<Req, Res>,
  { share, keys }: { share: Share; keys: ShareKeys },
  { limits }: AttestationDeps,
  run: (placed: Stream<Req, Res>) => Promise<void>,
): Promise<void> {
  const place = limits.enter(share, keys);
  let answered = (): void => {};
  try {
    const read = async (seconds: number): Promise<Req | undefined> => {
      answered();
      const message = await place.listen(stream.read(limits.patience(share, seconds)));
      answered = stream.caller.answer?.() ?? answered;
      return message;
    };
    await run({ ...stream, read });
  } finally {
    answered();
    place.leave();
  }
}

/**
 * Checks the caller's certificate again with each message: it may expire, be revoked, or lose its authority in between.
 */
function stillCertified<Req, Res>(
  stream: Stream<Req, Res>,
  record: RecordedIssuance,
  { clock, revocations }: AttestationDeps,
): Stream<Req, Res> {
  return {
    ...stream,
    read: async (seconds) => {
      const message = await stream.read(seconds);
      svidOf(stream.caller, clock);
      revocations.ensureGood(certifiedPeer(record), 'revoked_peer');
      return message;
    },
  };
}

/** Issues more certificates for the caller's own identity. None outlives the certificate that it shows. */
export const issueX509 = (deps: AttestationDeps) =>
  unary(
    'IssueX509',
    IdentityService.issueX509,
    async (request: IssueX509Request, caller): Promise<IssueX509Response> => {
      const { record, svid } = await certified(caller, deps);
      const { csrs, succeeds } = request;
      const scope = scopeFor(request.scope, svid, deps);
      deps.limits.call('IssueX509', nodeName(record), Math.min(Math.max(csrs.length, 1), MAX_CSRS));
      ensure(
        csrs.length >= 1 && csrs.length <= MAX_CSRS,
        'message_parse',
        `${csrs.length} CSRs, expected 1 to ${MAX_CSRS}`,
      );
      const leftSeconds = Math.ceil((record.notAfter.getTime() - deps.clock.now().getTime()) / 1000);
      ensure(leftSeconds >= MIN_LEFT_SECONDS, 'expired_peer', 'the caller’s certificate is about to end');
      ensure(succeeds.length === 0 || csrs.length === 1, 'message_parse', 'succeeds with several CSRs');
      const { id, platform, node, identity, notAfter } = record;
      const origin = record.origin ?? record.serial;
      const crl = namesList(deps.registry.sets.current(), identity);
      const old = succeeds.length === 0 ? undefined : await derivedBefore(hex(succeeds), record, deps);
      const issued = await Promise.all(
        csrs.map(async (csr) => {
          const key = verifyCsr(csr);
          const order = {
            id,
            platform,
            node,
            identity,
            attributes: svid.attested.attributes,
            scope,
            origin,
            succeeds: old?.serial,
            key,
            ttlSeconds: leftSeconds,
            notBeyond: notAfter,
            dnsNames: [],
            crl,
          };
          // Awaits nothing until the record is on its way, as in an exchange.
          deps.revocations.ensureGood(certifiedPeer(record), 'revoked_peer');
          const issued = await issue(order, deps);
          if (old !== undefined)
            deps.successions.add({
              old: old.serial,
              next: issued.serial,
              until: old.notAfter,
              node: { platform, node },
            });
          return issuedMessage(issued, id, deps);
        }),
      );
      deps.outcome(platform, 'issued');
      return { issued };
    },
  );

/**
 * The scope that was asked for, or that the caller's certificate has: it never becomes another one, nor none. Throws
 * not_entitled, scope_unknown.
 */
function scopeFor(asked: string, { id, attested }: VerifiedSvid, deps: AttestationDeps): string | undefined {
  const { scope: own } = attested;
  const says = `a certificate of scope ${own} was used to ask for one of scope ${asked.slice(0, 64)}`;
  ensure(own === undefined || asked === '' || asked === own, 'not_entitled', says);
  const scope = asked === '' ? own : asked;
  if (scope !== undefined) ensureScope(deps.registry.sets.current(), id, scope, deps.clock.now());
  return scope;
}

/**
 * The previous derived certificate: it was issued through the same agent, with the caller's certificate or one that
 * this replaced. Undefined for any other.
 */
async function derivedBefore(
  serial: string,
  caller: RecordedIssuance,
  deps: ExchangeDeps,
): Promise<RecordedIssuance | undefined> {
  const old = await predecessorOf(serial, caller, deps);
  if (old?.origin === undefined) return undefined;
  return (await comesOf(caller.origin ?? caller.serial, old.origin, deps)) ? old : undefined;
}

/**
 * The certificate of a caller over TLS that is good now, on record and not revoked. Throws no_peer, expired_peer,
 * revoked_peer, wrong_peer, chain, svid.
 */
export async function certified(
  caller: Caller,
  { store, clock, revocations }: Pick<ExchangeDeps, 'store' | 'clock' | 'revocations'>,
): Promise<{ svid: VerifiedSvid; record: RecordedIssuance }> {
  const svid = svidOf(caller, clock);
  // Refuses the CA's own certificate, and one from before its name was reserved.
  ensure(!isReserved(svid.id), 'wrong_peer', `${svid.id} is reserved for the trust domain itself`);
  const record = await store.issuance(svid.serial);
  ensureRecorded(svid, record);
  revocations.ensureGood(certifiedPeer(record), 'revoked_peer');
  return { svid, record };
}

/** The certificate, as revocations name it. */
export const certifiedPeer = ({ id, serial, origin, platform, node }: RecordedIssuance): RevocablePeer => ({
  id,
  serial,
  origin,
  node: { platform, node },
});

function svidOf(caller: Caller, clock: Clock): VerifiedSvid {
  if (caller.via !== 'tls')
    throw new IdentityError('no_peer', 'this needs a certificate, so not a unix socket');
  return caller.svid(clock.now());
}
