/** Certificate revocation lists, as an agent gets them from the CA. */
import { constructed, DerReader, TAG } from '@chancery/shared/der/read.ts';
import * as der from '@chancery/shared/der/write.ts';
import { concat } from '@chancery/shared/ground/bytes.ts';
import { CRL_REASON, crlEntryEnd, writeCrlEntry, writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { type Crl, crlEntries, parseCrl } from '@chancery/shared/x509/crl.ts';
import { readAuthorityKeyIdentifier } from '@chancery/shared/x509/extensions.ts';
import { after, extension, NOW } from '../../kit/certificates.ts';
import { law, type Target } from '../engine.ts';
import { recorded } from '../recorded.ts';

const REASONS = Object.keys(CRL_REASON) as readonly (keyof typeof CRL_REASON)[];

function listOf(count: number): Uint8Array {
  const entries = Array.from({ length: count }, (_, n) =>
    writeCrlEntry(
      Buffer.alloc(20, n + 1),
      crlEntryEnd(after(-n), REASONS[n % REASONS.length] ?? 'unspecified'),
    ),
  );
  const issuer = new DerReader(recorded('root'), 'der').sequence('certificate').sequence('to-be-signed');
  issuer.content(constructed(0), 'version');
  issuer.integer('serial');
  issuer.content(TAG.sequence, 'algorithm');
  const tbs = writeCrlTbs(
    {
      issuer: issuer.element(TAG.sequence, 'issuer'),
      keyId: Buffer.alloc(20, 7),
      number: (9n << 40n) + 1n,
      thisUpdate: NOW,
      nextUpdate: after(3600),
      entries: concat(...entries),
    },
    'ecdsa-p256',
  );
  // Nothing here verifies it.
  return assembleCertificate(tbs, 'ecdsa-p256', Buffer.alloc(70, 3));
}

function written({ entries, extensions, ...parsed }: Crl): Uint8Array {
  const list = [...extensions].map(([id, { critical, value }]) => extension(id, critical, value));
  const tbs = der.sequence(
    der.smallInteger(1),
    parsed.signatureAlgorithm,
    parsed.issuer,
    der.time(parsed.thisUpdate),
    der.time(parsed.nextUpdate),
    ...(entries.length === 0 ? [] : [der.tlv(TAG.sequence, entries)]),
    der.explicit(0, der.sequence(...list)),
  );
  return der.sequence(tbs, parsed.signatureAlgorithm, der.bitBytes(parsed.signature));
}

const WRITTEN_FALSE = Uint8Array.of(TAG.boolean, 1, 0);

const crl: Target = {
  name: 'crl',
  says: 'certificate revocation lists, with their entries',
  shape: 'der',
  open: () => ({
    seeds: [0, 1, REASONS.length].map(listOf),
    run: (input) => {
      const parsed = parseCrl(input);
      readAuthorityKeyIdentifier(parsed, 'crl');
      law(parsed.number >= 0n, 'the number is negative');
      for (const { serial } of crlEntries(parsed)) law(serial !== '', 'an entry has no serial');
      // A criticality of FALSE that is written out, which DER leaves out, is read all the same.
      return Buffer.from(input).includes(WRITTEN_FALSE) ? undefined : written(parsed);
    },
  }),
};

export const CRL: readonly Target[] = [crl];
