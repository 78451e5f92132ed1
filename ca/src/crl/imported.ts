/** The list of a root whose key is elsewhere: it was signed there, verified and imported. */
import { countCrlEntries, parseCrl } from '@chancery/shared/x509/crl.ts';
import type { RootCrl } from '../store/request-store.ts';
import type { CrlIssuer } from './issuers.ts';
import type { MadeCrl } from './sign.ts';

/** Undefined if there is none, or none that is valid now: what has ended would keep peers out. */
export function importedList(issuer: CrlIssuer, crls: readonly RootCrl[], now: Date): MadeCrl | undefined {
  const held = crls.find(({ root }) => root === issuer.serial);
  if (held === undefined) return undefined;
  const crl = parseCrl(held.der);
  const { number, thisUpdate, nextUpdate, entries: bytes } = crl;
  if (thisUpdate > now || nextUpdate <= now) return undefined;
  const entries = { count: countCrlEntries(crl, 'crl'), bytes };
  return { ...issuer, der: held.der, number, entries, thisUpdate, nextUpdate };
}
