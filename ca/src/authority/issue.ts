/**
 * Issuing: compose, lint, record, sign, in that order and no other; how it ended is recorded last. The types hold the
 * order: only `prepare` makes a Prepared, only `record` makes a Recorded, and only a Recorded is signed.
 */
import { hash } from 'node:crypto';
import type { Node } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { isReserved, type Role, roleNamedBy } from '@chancery/shared/spiffe/reserved.ts';
import { lintSvid } from '@chancery/shared/x509/compose/lint.ts';
import { assembleCertificate, writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import type { AuditIntake, CertificateStore, Issuance } from '../store/store.ts';
import type { Authorities } from './authorities.ts';
import type { Issuer } from './issuer.ts';
import { BACKDATE_SECONDS, leafFields } from './profile.ts';
import { drawSerial } from './serial.ts';

/** What the registry decided and the CSR proved. */
export interface Order extends Node {
  readonly id: SpiffeId;
  readonly key: ProvenKey;
  readonly ttlSeconds: number;
  /** Never valid beyond this, whatever the lifetime. */
  readonly notBeyond?: Date;
  readonly dnsNames: readonly string[];
  /** Whether it names the list of its issuer, where the config says where lists are; by default it does. */
  readonly crl?: boolean;
  readonly identity: string;
  /** By `kind.name`; by default none. A certificate with a role has neither these nor a platform. */
  readonly attributes?: ReadonlyMap<string, string>;
  /** The narrower grant that it has; by default none. */
  readonly scope?: string | undefined;
  /** Serial of the attested certificate that it comes of, where it is not attested for itself. */
  readonly origin?: string;
  /** Serial of the certificate that this one replaces, of the same SPIFFE ID and node. */
  readonly succeeds?: string | undefined;
  /** For the CA itself and its operators; no order for a workload has one. */
  readonly role?: Role;
}

export interface IssuedSvid {
  /** X.509 DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[];
  readonly serial: string;
  readonly notAfter: Date;
  /** Half of the lifetime; the agent adds its own spread. */
  readonly renewAfter: Date;
}

export interface IssueDeps {
  readonly authorities: Pick<Authorities, 'issuer' | 'isAuthorityKey' | 'bundle' | 'life'>;
  readonly store: Pick<CertificateStore, 'record'> & Pick<AuditIntake, 'appendSoon'>;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

declare const prepared: unique symbol;
declare const recorded: unique symbol;

/** To-be-signed bytes that passed the lint, and the record that must be durable before they are signed. */
interface Prepared {
  readonly [prepared]: true;
  readonly tbs: Uint8Array;
  readonly issuance: Issuance;
  readonly issuer: Issuer;
}

type Recorded = Prepared & { readonly [recorded]: true };

/** Throws authority_unfit, csr_key, lint, store. */
export async function issue(order: Order, deps: IssueDeps): Promise<IssuedSvid> {
  const ready = await record(prepare(order, deps), deps.store, order.scope);
  const certificate = await sign(ready, deps.store);
  const { issuance, issuer } = ready;
  const { notBefore, notAfter, serial } = issuance;
  const renewAfter = new Date((addSeconds(notBefore, BACKDATE_SECONDS).getTime() + notAfter.getTime()) / 2);
  return { chain: [certificate, ...issuer.chain], serial, notAfter, renewAfter };
}

function prepare(order: Order, { authorities, clock, random }: IssueDeps): Prepared {
  const now = clock.now();
  const issuer = authorities.issuer(now);
  ensure(!authorities.isAuthorityKey(order.key.sha256), 'csr_key', 'the key is that of an authority');
  ensureOwnName(order);
  const validity = within(order, issuer, now);
  const { id, dnsNames, role, crl = true } = order;
  const attested = attestedIn(order);
  const { spki } = order.key;
  const serial = drawSerial(now, random, authorities.life);
  const subject = { id, dnsNames, spki, role, crl, attested };
  const tbs = writeTbs(leafFields(issuer.template, subject, serial, validity), issuer.signer.algorithm);
  const crlUrl = crl ? issuer.crlUrl : undefined;
  lintSvid(tbs, { issuer: issuer.certificate, id, dnsNames, spki, crlUrl, attested });
  const { platform, node, identity } = order;
  const issuance: Issuance = {
    serial: hex(serial),
    id,
    platform,
    node,
    identity,
    keySha256: order.key.sha256,
    issuer: issuer.serial,
    origin: order.origin,
    succeeds: order.succeeds,
    // The answer has this bundle or a newer one.
    bundle: authorities.bundle.current().sequence,
    ...validity,
  };
  const made: Omit<Prepared, typeof prepared> = { tbs, issuance, issuer };
  return made as Prepared;
}

const attestedIn = ({ role, platform, scope, attributes = NONE }: Order): Attested | undefined =>
  role === undefined ? { platform, scope, attributes } : undefined;

const NONE: ReadonlyMap<string, string> = new Map();

/** Whatever a template, a token or a former certificate says: reserved names are the CA's to give. */
function ensureOwnName({ id, role }: Order): void {
  const named = roleNamedBy(id);
  ensure(
    named !== undefined || !isReserved(id),
    'no_identity',
    `${id} is reserved for the trust domain itself`,
  );
  ensure(named === role, 'no_identity', `${id} is reserved for the trust domain itself`);
}

async function record(
  ready: Prepared,
  store: Pick<CertificateStore, 'record'>,
  scope: string | undefined,
): Promise<Recorded> {
  const { serial, id, platform, node, identity, notAfter, origin, succeeds } = ready.issuance;
  await store.record(ready.issuance, {
    type: 'svid.issuing',
    id,
    serial,
    notAfter: notAfter.toISOString(),
    platform,
    node,
    identity,
    ...(origin === undefined ? {} : { origin }),
    ...(succeeds === undefined ? {} : { succeeds }),
    ...(scope === undefined ? {} : { scope }),
    tbs: hash('sha256', ready.tbs, 'hex'),
  });
  return ready as Recorded;
}

/**
 * The intent is on record by now; how it ended follows. Where the end is missing, the CA was killed, or the store could
 * not write the end, which the log says.
 */
async function sign(ready: Recorded, audit: Pick<AuditIntake, 'appendSoon'>): Promise<Uint8Array> {
  const { signer } = ready.issuer;
  const { serial } = ready.issuance;
  try {
    const certificate = assembleCertificate(ready.tbs, signer.algorithm, await signer.sign(ready.tbs));
    audit.appendSoon({ type: 'svid.issued', serial, sha256: hash('sha256', certificate, 'hex') });
    return certificate;
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    audit.appendSoon({ type: 'svid.failed', serial, detail });
    throw error;
  }
}

/** Never outside the issuer's own validity (RFC 5280 lets it, but nobody could use it), nor beyond what was asked. */
function within(order: Order, issuer: Issuer, now: Date): { notBefore: Date; notAfter: Date } {
  const { notBefore: first, notAfter: last } = issuer.certificate;
  const wanted = [addSeconds(now, order.ttlSeconds), last, order.notBeyond ?? last];
  const notAfter = wholeSeconds(new Date(Math.min(...wanted.map((time) => time.getTime()))));
  const notBefore = wholeSeconds(
    new Date(Math.max(addSeconds(now, -BACKDATE_SECONDS).getTime(), first.getTime())),
  );
  ensure(notAfter > now, 'authority_unfit', `nothing can be valid beyond ${notAfter.toISOString()}`);
  return { notBefore, notAfter };
}

/** X.509 times have no fraction. */
const wholeSeconds = (time: Date): Date => new Date(Math.floor(time.getTime() / 1000) * 1000);
