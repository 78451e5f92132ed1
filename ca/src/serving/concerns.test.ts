import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { beforeEach, expect, test } from 'vitest';
import { corporateRoot, crossOf } from '../../../test/kit/ca/above.ts';
import { makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { concernsOf } from './concerns.ts';

const DAY = 86_400;

let made: Awaited<ReturnType<typeof makeAuthorities>>;
beforeEach(async () => {
  made = await makeAuthorities();
});

/** What is said of a root whose chain from a CA above ends then. */
async function saidOf(days: number) {
  const { serial, certificate } = made.root;
  const own = crossOf(parseCertificate(certificate), corporateRoot, {
    fields: { notAfter: after(days * DAY) },
  });
  const event = { type: 'authority.crossRequested', root: serial, keySha256: '', by: 'the test' } as const;
  const after0 =
    (await made.store.authorities()).find((each) => each.serial === serial)?.cross?.sequence ?? 0n;
  await made.store.saveCross({ root: serial, chain: [own.der], after: after0 }, event);
  return (await concerns()).filter((each) => /CA above/.test(each));
}
const concerns = async () => concernsOf(await made.store.authorities(), NOW);

test('without a standby root, and with one', async () => {
  expect(await concerns()).toEqual([
    expect.stringMatching(/^no root stands by: .*rotate standby makes one$/),
  ]);
  const records = await made.store.authorities();
  const standby = records.map(
    (each) => ({ ...each, serial: '40ff', state: 'published', standby: true }) as const,
  );
  expect(concernsOf([...records, ...standby.filter(({ kind }) => kind === 'root')], NOW)).toEqual([]);
});

test('a chain from a CA above that ends within three weeks, or has ended, is said with what to do', async () => {
  const ask = `chancery-ca authorities request --above ${made.root.serial}`;
  const of = `what a CA above has certified of root ${made.root.serial}`;
  expect(await saidOf(22)).toEqual([]);
  expect(await saidOf(20)).toEqual([`${of} ends at ${after(20 * DAY).toISOString()}: ${ask}`]);
  expect(await saidOf(-1)).toContain(`${of} ended at ${after(-DAY).toISOString()}: ${ask}`);
});

test('a root that is to sign next and has no chain from the CA above is said', async () => {
  await saidOf(100);
  const records = await made.store.authorities();
  const next = records.map(
    (each) => ({ ...each, serial: '40ff', state: 'published', cross: undefined }) as const,
  );
  const said = concernsOf([...records, ...next.filter(({ kind }) => kind === 'root')], NOW);
  expect(said).toContainEqual(expect.stringMatching(/^root 40ff has no certificate from the CA above/));
});
