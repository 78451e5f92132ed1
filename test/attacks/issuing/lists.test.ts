/** What an offline root is asked to sign as its revocation list: each request is genuine except in one thing. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LIST_REQUEST_LABEL, planListing, signList } from '@chancery/ca/ceremony/list.ts';
import { writeAuthorityRequest } from '@chancery/ca/ceremony/request.ts';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import {
  type CrlFields,
  crlEntryEnd,
  writeCrlEntry,
  writeCrlTbs,
} from '@chancery/shared/x509/compose/crl.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { offlineRoot } from '../../kit/ca/ceremony.ts';
import { after, NOW } from '../../kit/certificates.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const DAY = 86_400;
const trustDomain = parseTrustDomain('prod.example');
const folder = makeFolder();
afterAll(() => removeFolder(folder));

let offline: Awaited<ReturnType<typeof offlineRoot>>;
/** Of an intermediate of 90 days that it has signed. */
let serial: string;
beforeEach(async () => {
  offline = await offlineRoot(folder, trustDomain);
  const wish = { kind: 'intermediate', trustDomain, label: 'ab'.repeat(20) } as const;
  const pem = await offline.sign(await writeAuthorityRequest(signerOf(generateKey()), wish));
  serial = hex(parseCertificate(readPem(pem, 'CERTIFICATE', 'internal')[0] ?? new Uint8Array()).serial);
});

const entry = (of = serial, at = NOW) =>
  writeCrlEntry(Buffer.from(of, 'hex'), crlEntryEnd(at, 'keyCompromise'));
function tbsOf(changes: Partial<CrlFields> = {}, algorithm = offline.root.algorithm): Uint8Array {
  const { subject: issuer, spki } = offline.root.certificate;
  const times = { thisUpdate: NOW, nextUpdate: after(180 * DAY) };
  const fields = { issuer, keyId: keyIdentifierOf(spki, 'internal'), number: 7n, ...times, entries: entry() };
  return writeCrlTbs({ ...fields, ...changes }, algorithm);
}
const plan = (request: string, now = NOW) => {
  const { dir, root } = offline;
  return planListing({ dir, root, request: utf8(request), now });
};
const planned = (changes: Partial<CrlFields> = {}) => plan(writePem(LIST_REQUEST_LABEL, tbsOf(changes)));
const refuses = (attempt: () => unknown, says: RegExp) =>
  expect(attempt).toThrow(refusal('authority_request', says));

describe('I188 a request for the list of an offline root', () => {
  test('that is as it should be is signed once, and kept', async () => {
    expect(planned().entries).toMatchObject([{ serial, reason: 1 }]);
    await signList(planned(), offline.signer);
    refuses(() => planned(), /has number 0{23}7, and 0{23}7 was signed before/);
    expect(readdirSync(join(offline.dir, 'lists'))).toEqual([`${'7'.padStart(24, '0')}.pem`]);
  });

  test.each<[string, () => Partial<CrlFields>, RegExp]>([
    ['of another issuer', () => ({ issuer: Buffer.from('3000', 'hex') }), /of another root/],
    ['of another key', () => ({ keyId: Buffer.alloc(20) }), /of another root/],
    [
      'with a certificate that it has not signed',
      () => ({ entries: entry('4d'.repeat(20)) }),
      /has not signed/,
    ],
    ['from tomorrow', () => ({ thisUpdate: after(DAY) }), /on this machine/],
    ['that has ended', () => ({ thisUpdate: after(-2), nextUpdate: after(-1) }), /on this machine/],
    ['with a number after which none is left', () => ({ number: 2n ** 159n - 1n }), /a CA takes at most/],
    ['for two years', () => ({ nextUpdate: after(730 * DAY) }), /longer than 400 days/],
  ])('%s is refused', (_, changes, says) => {
    expect(planned).not.toThrow();
    refuses(() => planned(changes()), says);
  });

  test('with another algorithm, or with something more than a list says', () => {
    refuses(() => plan(writePem(LIST_REQUEST_LABEL, tbsOf({}, 'ecdsa-p256'))), /says more/);
    // 5.3.1: a reason that the CA does not use.
    const odd = writeCrlEntry(Buffer.from(serial, 'hex'), crlEntryEnd(NOW, 'superseded'));
    refuses(() => planned({ entries: odd }), /says more/);
    refuses(
      () => plan(writePem(LIST_REQUEST_LABEL, Buffer.concat([tbsOf(), Buffer.of(0)]))),
      /says more|CRL/,
    );
    refuses(() => plan(`${writePem(LIST_REQUEST_LABEL, tbsOf())}x`), /more than PEM blocks/);
    refuses(() => plan(writePem(LIST_REQUEST_LABEL, tbsOf()).repeat(2)), /2 PEM blocks/);
  });

  test('that leaves out what the list before has, until that has ended; and an older number', async () => {
    await signList(planned(), offline.signer);
    const none = { entries: new Uint8Array(), number: 8n };
    refuses(() => planned(none), /leaves out certificate/);
    const later = { thisUpdate: after(89 * DAY), nextUpdate: after(200 * DAY) };
    const at = (days: number) => () =>
      plan(writePem(LIST_REQUEST_LABEL, tbsOf({ ...none, ...later })), after(days * DAY));
    refuses(at(89), /leaves out certificate/);
    expect(at(91)).not.toThrow();
    refuses(() => planned({ number: 6n }), /was signed before/);
  });

  test('of a root that has ended', () => {
    const late = { thisUpdate: after(3650 * DAY), nextUpdate: after(3700 * DAY) };
    const ended = () => plan(writePem(LIST_REQUEST_LABEL, tbsOf(late)), after(3651 * DAY));
    expect(ended).toThrow(refusal('authority_unfit', /valid from/));
  });
});
