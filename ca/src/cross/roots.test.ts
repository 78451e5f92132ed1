/** Which root a CA above is asked for, by which key, and how long what is under it lives. */
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { chainFile, corporateRoot, crossOf } from '../../../test/kit/ca/above.ts';
import { type MemoryKeys, makeAuthorities, memoryKeys } from '../../../test/kit/ca/authority.ts';
import { after } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { makeIntermediate } from '../authority/settle.ts';
import { type Cross, openCross } from './cross.ts';

const DAY = 86_400;

let made: Awaited<ReturnType<typeof makeAuthorities>>;
let keys: MemoryKeys;
let cross: Cross;
beforeEach(async () => {
  keys = memoryKeys();
  made = await makeAuthorities({ keys });
  cross = openCross({ ...made, dnsNames: () => [] });
});

const ask = (root: string) => cross.ask({ root, dryRun: false }, 'ada');
const events = async () => (await made.store.events(0, 100)).map(({ event }) => event.type);

test('a key that is not that of the root on record signs no request', async () => {
  await ask('');
  const before = await events();
  keys.signers.set(made.root.key.reference, signerOf(generateKey()));
  await expect(ask('')).rejects.toThrow(refusal('key_wrong', /./));
  expect(await events()).toEqual(before);
});

test('digits that two roots begin with are too few', async () => {
  const records = await made.store.authorities();
  const [root] = records.filter(({ kind }) => kind === 'root');
  if (root === undefined) throw new Error('there is no root');
  const twin = { ...root, serial: `${root.serial.slice(0, 8)}${'f'.repeat(root.serial.length - 8)}` };
  vi.spyOn(made.store, 'authorities').mockResolvedValue([...records, twin]);
  const says = refusal('rotation', /^2 roots begin with [0-9a-f]{8}: give more digits$/);
  await expect(ask(root.serial.slice(0, 8))).rejects.toThrow(says);
  expect(await ask(root.serial)).toMatchObject({ root: root.serial });
});

test('an end before that of an intermediate that exists is said, however short those are that come', async () => {
  const root = parseCertificate(made.root.certificate);
  const warnings = async () => {
    const own = crossOf(root, corporateRoot, { fields: { notAfter: after(30 * DAY) } });
    const answer = chainFile(own, corporateRoot.certificate);
    return (await cross.take({ answer, rootAbove: new Uint8Array(), dryRun: true }, 'ada')).warnings;
  };
  expect(await warnings()).toEqual([]);
  // As an offline root signs them.
  const { notAfter } = await makeIntermediate(made.root, { ...made, intermediateTtl: 90 * DAY });
  expect(await warnings()).toEqual([
    `the chain ends at ${after(30 * DAY).toISOString()}, and what is signed under the root may live until ` +
      `${notAfter.toISOString()}: get the next one before that`,
  ]);
});

test('I266 a root that is tainted takes no chain, also while it signs', async () => {
  const records = await made.store.authorities();
  const tainted = records.map((each) => ({ ...each, ...(each.kind === 'root' && { taintedAt: after(0) }) }));
  vi.spyOn(made.store, 'authorities').mockResolvedValue(tainted);
  const own = crossOf(parseCertificate(made.root.certificate), corporateRoot);
  const answer = chainFile(own, corporateRoot.certificate);
  const take = cross.take({ answer, rootAbove: new Uint8Array(), dryRun: true }, 'ada');
  await expect(take).rejects.toThrow(refusal('authority_answer', /which is tainted: nothing is signed/));
});
