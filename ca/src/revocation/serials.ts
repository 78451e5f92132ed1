/** Finds the certificate by the serial, or its first digits, that an operator types. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseTarget, type Target } from '@chancery/shared/revocation/revocation.ts';
import type { CertificateStore, RecordedIssuance } from '../store/store.ts';

export interface NamedSerial {
  readonly text: string;
  readonly now: Date;
  /** Accepts a whole serial that is not on record, and completes none. */
  readonly force: boolean;
}

/** RFC 5280 §4.1.2.2: at most 20 bytes. */
const PREFIX = /^[0-9a-f]{1,40}$/;
const MAX_LISTED = 10;

/**
 * The only certificate on record whose serial is `text` or begins with it. Throws revocation if several unexpired ones
 * do; expired ones do not make it ambiguous. Throws store.
 */
export async function issuedSerial(
  { text, now, force }: NamedSerial,
  store: Pick<CertificateStore, 'issuedFrom'>,
): Promise<Target> {
  const prefix = text.replaceAll(':', '').toLowerCase();
  if (force || !PREFIX.test(prefix)) return parseTarget('serial', text);
  const found = await store.issuedFrom(prefix);
  const unknown = `no certificate with serial ${text} was issued by this CA`;
  const advice = 'see chancery-ca issued; --force revokes the serial of another CA';
  ensure(found.length > 0, 'revocation', `${unknown}: ${advice}`);
  const exact = found.find(({ serial }) => serial === prefix);
  const valid = found.filter(({ notAfter }) => notAfter > now);
  const meant = exact === undefined ? (valid.length > 0 ? valid : found) : [exact];
  const [only] = meant;
  ensure(only !== undefined && meant.length === 1, 'revocation', `${text} ${listed(meant)}`);
  return parseTarget('serial', only.serial);
}

function listed(meant: readonly RecordedIssuance[]): string {
  const lines = meant.slice(0, MAX_LISTED).map(({ serial, id }) => `\n  ${serial} ${id}`);
  const more = meant.length > MAX_LISTED ? '\n  and more' : '';
  return `begins more than one serial: give more digits${lines.join('')}${more}`;
}
