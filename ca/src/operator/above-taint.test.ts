/** A root that a CA above has certified is stolen: what is said, kept and counted. */
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { beforeEach, expect, test } from 'vitest';
import { chainFile, corporate, crossOf } from '../../../test/kit/ca/above.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { openCross } from '../cross/cross.ts';
import { openRotation, type Rotation } from '../rotation/rotation.ts';

const PLAIN = { without: [], everybody: false, reason: '', dryRun: false };

let rpc: Rpc;
let rotation: Rotation;
let certify: (serial: string) => Promise<unknown>;
let serialAbove: string;
beforeEach(async () => {
  rpc = await makeRpc();
  rotation = openRotation({
    ...rpc,
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => {},
  });
  const cross = openCross({ ...rpc, dnsNames: () => [] });
  certify = async (serial) => {
    const root = (await rpc.store.authorities()).find((each) => each.serial === serial);
    const made = crossOf(parseCertificate(root?.certificate ?? new Uint8Array()));
    serialAbove = Buffer.from(made.serial).toString('hex');
    const answer = chainFile(made, corporate.certificate);
    return cross.take({ answer, rootAbove: new Uint8Array(), dryRun: false }, 'ada');
  };
});

const taint = (authority: string, dryRun: boolean) =>
  rotation.taint({ authority, reason: 'stolen', dryRun }, 'ada');
const gauge = () =>
  rpc.authorities.inUse().flatMap(({ kind, crossUntil }) => (kind === 'root' ? [crossUntil] : []));

const REVOKE =
  /^the CA above must revoke its certificate [0-9a-f]+ of root [0-9a-f]+, issued by CN=Corporate inter/;
const LACKS = / has no certificate from the CA above, and signs/;

test('a taint says, before and after, what the CA above must revoke and what its peers refuse', async () => {
  const stolen = rpc.root.serial;
  const spare = (await rotation.standBy('ada', false)).standby?.serial;
  await certify(stolen);
  const wants = [
    expect.stringMatching(REVOKE),
    expect.stringMatching(new RegExp(`^root ${spare}${LACKS.source}`)),
  ];
  for (const dryRun of [true, false]) {
    const { above } = await taint(stolen, dryRun);
    expect(above).toEqual(wants);
    expect(above[0]).toContain(serialAbove);
  }
  const events = (await rpc.store.events(0, 1000)).map(({ event }) => event);
  expect(events.find(({ type }) => type === 'authority.tainted')).toMatchObject({
    above: { serial: serialAbove, issuer: 'CN=Corporate intermediate' },
  });
  const kept = (await rotation.authorities()).find(({ authority }) => authority.serial === stolen);
  expect(kept?.toRevokeAbove).toMatch(REVOKE);
  expect((await rotation.status()).above).toEqual([expect.stringMatching(LACKS)]);
  expect(gauge()).toEqual([rpc.clock.now()]);
});

test('without a root to follow, a dry run says that the one to be made has none', async () => {
  await certify(rpc.root.serial);
  expect((await taint(rpc.root.serial, true)).above).toEqual([
    expect.stringMatching(REVOKE),
    expect.stringMatching(/^the root that is still to be made has no certificate from the CA above/),
  ]);
});

test('a rotation to a root without a chain is said when it signs, and when the one of before is gone', async () => {
  await certify(rpc.root.serial);
  await rotation.start('ada', false);
  expect((await rotation.status()).above).toEqual([
    expect.stringMatching(/^root [0-9a-f]+ has no certificate from the CA above: peers/),
  ]);
  expect((await rotation.next(PLAIN, 'ada')).above).toEqual([expect.stringMatching(LACKS)]);
  expect(gauge()).toContainEqual(rpc.clock.now());
  const { above } = await rotation.next(PLAIN, 'ada');
  expect(above).toEqual([expect.stringMatching(LACKS)]);
  expect(gauge()).toEqual([rpc.clock.now()]);
});

test('where no CA above has certified anything, nothing is said', async () => {
  await rotation.standBy('ada', false);
  expect((await rotation.status()).above).toEqual([]);
  expect(gauge()).toEqual([undefined, undefined]);
  expect((await taint(rpc.root.serial, false)).above).toEqual([]);
});
