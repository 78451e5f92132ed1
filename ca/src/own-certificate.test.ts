import { hex } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test } from 'vitest';
import { INTERMEDIATE_TTL } from '../../test/kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../../test/kit/ca/rpc.ts';
import { after } from '../../test/kit/certificates.ts';
import { OwnCertificate } from './own-certificate.ts';
import { openRotation, type Rotation } from './rotation/rotation.ts';

const trustDomain = parseTrustDomain('prod.example');
const STEP = { without: [], everybody: false, reason: '', dryRun: false };
const BY = 'uid 0';

let rpc: Rpc;
let own: OwnCertificate;
let rotation: Rotation;
beforeEach(async () => {
  rpc = await makeRpc();
  own = await OwnCertificate.issue({ ...rpc, trustDomain, log: silentLog });
  const clock = { now: () => rpc.clock.now(), sleepUntil: async () => {} };
  rotation = openRotation({ ...rpc, clock, own, ensureSteady: () => {} });
  // A root that begins later than the first one.
  rpc.clock.jump(after(60));
  await rotation.start(BY, false);
  await rotation.next(STEP, BY);
  await own.settle();
});

const old = () => ({ trustDomain, authorities: [rpc.root.certificate], sequence: 0n });
const verified = () => verifySvid(own.svid.current().chain, old(), rpc.clock.now());
const serial = () => hex(parseCertificate(own.svid.current().chain[0] ?? new Uint8Array()).serial);

test('stays under the root that retires, also where that lasts longer than its intermediate, and leaves it with it', async () => {
  for (let at = 60; at < 3 * INTERMEDIATE_TTL; at += 3600) {
    rpc.clock.jump(after(at));
    await rpc.authorities.refresh();
    await own.settle();
    expect(verified).not.toThrow();
  }
  await rotation.next(STEP, BY);
  expect(verified).toThrow();
  expect(() =>
    verifySvid(own.svid.current().chain, rpc.authorities.bundle.current(), rpc.clock.now()),
  ).not.toThrow();
});

test('stays as it is after a rollback', async () => {
  const before = serial();
  await rotation.rollback(BY, false);
  await own.settle();
  expect(serial()).toBe(before);
  expect(verified).not.toThrow();
});

test('goes back where the removal was refused', async () => {
  await own.leave(rpc.root.serial);
  expect(verified).toThrow();
  await own.settle();
  expect(verified).not.toThrow();
});

test('is under the new root where the retiring one cannot sign', async () => {
  await rpc.keys.root.remove(rpc.root.key);
  for (const { serial: each, kind, key } of await rpc.store.authorities())
    if (kind === 'intermediate' && each !== rpc.authorities.issuer(rpc.clock.now()).serial)
      await rpc.keys.intermediate.remove(key);
  await own.settle();
  expect(verified).toThrow();
  expect(own.whyUnfit(rpc.clock.now())).toBeUndefined();
});
