import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, expect, test, vi } from 'vitest';
import { corporate, crossOf } from '../../../test/kit/ca/above.ts';
import { makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { OutputSettings } from '../config/schema.ts';
import type { Holding } from './files.ts';
import { startOutputs } from './outputs.ts';

const base = mkdtempSync(join(tmpdir(), 'keep-'));
afterAll(() => rmSync(base, { recursive: true }));
const trustDomain = parseTrustDomain('prod.example');
const root = makeAuthority('Root').certificate.der;
const second = makeAuthority('Second').certificate.der;
const missing = () => new IdentityError('unavailable', 'none');
const keyed = (pem: string): Holding => ({ chain: [root], key: { pem } });
const bundleOf = (...authorities: readonly Uint8Array[]): Bundle => ({
  trustDomain,
  authorities,
  sequence: 1n,
});

function start(outputs: readonly OutputSettings[]) {
  const svid = new LiveValue<Holding>(missing, keyed('first'));
  const bundle = new LiveValue<Bundle>(missing, bundleOf(root));
  const crls = new LiveValue<readonly { der: Uint8Array }[]>(missing);
  const crossChains = new LiveValue<readonly (readonly Uint8Array[])[]>(missing, []);
  const failures: object[] = [];
  const log = { ...silentLog, error: (fields: object) => failures.push(fields) };
  const clock = new ManualClock(NOW);
  const deps = { signalProcess: () => {}, ownPid: 1, ownUid: 0, random: () => 0.5 };
  const kept = startOutputs({ outputs, svid, bundle, crls, crossChains, clock, log, ...deps });
  return { svid, bundle, crls, crossChains, failures, clock, ...kept };
}

test('writes at once, after every change, and no more once it is closed', async () => {
  const dir = join(base, 'a');
  const key = () => readFileSync(join(dir, 'key.pem'), 'utf8');
  const first = start([{ dir, mode: '0600' }]);
  await first.close();
  expect(key()).toBe('first');
  first.svid.publish(keyed('late'));
  await first.close();
  expect(key()).toBe('first');
  const again = start([{ dir, mode: '0600' }]);
  again.svid.publish(keyed('second'));
  await again.close();
  expect(key()).toBe('second');
});

test('follows the bundle as well', async () => {
  const dir = join(base, 'd');
  const told = join(base, 'bundles');
  const { bundle, close } = start([
    { dir, mode: '0600', command: ['/bin/sh', '-c', `echo told >> ${told}`] },
  ]);
  bundle.publish(bundleOf(root, second));
  await until(() => existsSync(told) && readFileSync(told, 'utf8') === 'told\ntold\n');
  await close();
  expect(readFileSync(join(dir, 'bundle.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(2);
});

test('has the revocation lists where it asks for them, and only then follows them', async () => {
  const [dir, other, told] = [join(base, 'l'), join(base, 'm'), join(base, 'lists')];
  const tell = (name: string) => ['/bin/sh', '-c', `echo ${name} >> ${told}`];
  const read = () => (existsSync(told) ? readFileSync(told, 'utf8').trim().split('\n').toSorted() : []);
  const lists = () => readFileSync(join(dir, 'crl.pem'), 'utf8').match(/BEGIN X509 CRL/g)?.length;
  const asks = { dir, mode: '0600', crl: true, command: tell('asks') };
  const { crls, close } = start([asks, { dir: other, mode: '0600', command: tell('other') }]);
  await until(() => read().length === 1);
  crls.publish([{ der: root }, { der: second }]);
  await until(() => read().length === 2);
  expect(read()).toEqual(['asks', 'other']);
  crls.publish([{ der: root }, { der: second }, { der: root }]);
  await until(() => read().length === 3);
  expect(lists()).toBe(3);
  crls.publish([{ der: root }, { der: second }]);
  await until(() => read().length === 4);
  expect(lists()).toBe(2);
  expect(existsSync(join(other, 'crl.pem'))).toBe(false);
  await close();
  // After a restart those on disk stay until the CA has sent others.
  const again = start([{ dir, mode: '0600', crl: true }]);
  again.svid.publish(keyed('later'));
  await again.close();
  expect(lists()).toBe(2);
  const without = start([{ dir, mode: '0600' }]);
  await without.close();
  expect(readdirSync(dir)).not.toContain('crl.pem');
});

test('I281 publishes nothing without the lists that it asks for, for ten seconds, and says then that they lack', async () => {
  const dir = join(base, 'first');
  const { svid, bundle, crls, clock, states, close } = start([{ dir, mode: '0600', crl: true }]);
  const missing = 'crl.pem is missing, since the CA has sent no revocation lists yet';
  await until(() => clock.sleeping === 1);
  // No news makes it go on without them.
  svid.publish(keyed('second'));
  bundle.publish(bundleOf(root, second));
  await until(() => clock.sleeping === 1);
  expect([existsSync(dir), states()[0]?.failure]).toEqual([false, missing]);
  clock.advanceTo(addSeconds(NOW, 10));
  await until(() => existsSync(join(dir, 'key.pem')));
  expect([readFileSync(join(dir, 'key.pem'), 'utf8'), states()[0]?.failure]).toEqual(['second', missing]);
  crls.publish([{ der: root }]);
  await until(() => states()[0]?.failure === undefined);
  expect(existsSync(join(dir, 'crl.pem'))).toBe(true);
  await close();
  // One that is ended meanwhile waits for nothing.
  const ended = start([{ dir: join(base, 'ended'), mode: '0600', crl: true }]);
  await ended.close();
  expect(existsSync(join(base, 'ended'))).toBe(false);
});

/** Resolves when `holds` does; what it waits for happens in other processes. */
const until = (holds: () => boolean) => vi.waitUntil(holds, { timeout: 20_000, interval: 5 });

test('one output that fails is told and does not stop the others', async () => {
  const broken = join(base, 'broken');
  writeFileSync(broken, 'in the way');
  const dir = join(base, 'b');
  const { failures, states, close } = start([
    { dir: broken, mode: '0600' },
    { dir, mode: '0600' },
  ]);
  await until(() => states()[0]?.failure !== undefined);
  await close();
  expect(readFileSync(join(dir, 'key.pem'), 'utf8')).toBe('first');
  expect(failures[0]).toEqual({ err: expect.objectContaining({ code: 'file' }), dir: broken, attempt: 1 });
  expect(states()).toMatchObject([
    { dir: broken, failure: expect.stringContaining(`the folder ${broken} could not be opened`) },
    { dir, failure: undefined },
  ]);
});

test('a command that hangs keeps no other output waiting', async () => {
  const [hung, dir] = [join(base, 'hung'), join(base, 'e')];
  const go = join(base, 'go');
  const command = ['/bin/sh', '-c', `while ! [ -e ${go} ]; do sleep 0.02; done`];
  const { svid, close } = start([
    { dir: hung, mode: '0600', command },
    { dir, mode: '0600' },
  ]);
  svid.publish(keyed('second'));
  await until(() => existsSync(dir) && readFileSync(join(dir, 'key.pem'), 'utf8') === 'second');
  expect(readFileSync(join(hung, 'key.pem'), 'utf8')).toBe('first');
  writeFileSync(go, '');
  await until(() => readFileSync(join(hung, 'key.pem'), 'utf8') === 'second');
  await close();
});

test('what failed is tried again after 1, 2 and 4 s, and at once after a change', async () => {
  const dir = join(base, 'f');
  const ready = join(base, 'ready');
  const { svid, states, failures, clock, close } = start([
    { dir, mode: '0600', command: ['/bin/sh', '-c', `[ -e ${ready} ]`] },
  ]);
  const failed = (times: number) => until(() => failures.length === times);
  await failed(1);
  for (const [seconds, times] of [
    [1, 2],
    [3, 3],
  ] as const) {
    await until(() => clock.sleeping === 1);
    expect(failures).toHaveLength(times - 1);
    clock.advanceTo(addSeconds(NOW, seconds));
    await failed(times);
  }
  await until(() => clock.sleeping === 1);
  writeFileSync(ready, '');
  svid.publish(keyed('second'));
  await until(() => states()[0]?.failure === undefined);
  expect(failures).toHaveLength(3);
  await close();
});

test('changes during a telling are told once, with the newest files', async () => {
  const dir = join(base, 'c');
  const told = join(base, 'told');
  const command = [
    '/bin/sh',
    '-c',
    `echo begin >> ${told}; cat ${dir}/key.pem >> ${told}; echo " end" >> ${told}`,
  ];
  const { svid, close } = start([{ dir, mode: '0600', command }]);
  svid.publish(keyed('second'));
  svid.publish(keyed('third'));
  await until(() => existsSync(told) && readFileSync(told, 'utf8').includes('third end'));
  await close();
  expect(readFileSync(told, 'utf8').trimEnd().split('\n')).toEqual([
    'begin',
    'first end',
    'begin',
    'third end',
  ]);
});

test('I80 a command that hangs ends with the output, and is not run again', async () => {
  const [dir, ran] = [join(base, 'g'), join(base, 'ran')];
  const command = ['/bin/sh', '-c', `echo ran >> ${ran}; while :; do sleep 600; done`];
  const { svid, failures, close } = start([{ dir, mode: '0600', command }]);
  await until(() => existsSync(ran));
  svid.publish(keyed('second'));
  await close();
  expect(readFileSync(ran, 'utf8')).toBe('ran\n');
  expect(failures[0]).toMatchObject({ err: { message: expect.stringMatching(/was ended with the agent$/) } });
});

test('a full chain follows what the CA sends, and is the short one without it', async () => {
  const dir = join(base, 'full');
  const ours = makeAuthority('Ours');
  const issuing = makeAuthority('Issuing', ours);
  const leaf = makeLeaf('spiffe://prod.example/web', issuing);
  const chain = [leaf.certificate.der, issuing.certificate.der];
  const blocks = () => readFileSync(join(dir, 'svid.pem'), 'utf8').match(/BEGIN CERTIFICATE/g)?.length;
  const { svid, bundle, crossChains, states, close } = start([{ dir, mode: '0600', chain: 'full' }]);
  bundle.publish(bundleOf(ours.certificate.der));
  svid.publish({ chain, key: leaf.key });
  await vi.waitFor(() => expect(blocks()).toBe(2));
  expect(states()[0]?.written?.lacks).toMatch(/^the CA has no cross-certificate for the root/);
  crossChains.publish([[crossOf(ours.certificate).der, corporate.certificate.der]]);
  await vi.waitFor(() => expect(blocks()).toBe(4));
  expect(states()[0]).toMatchObject({ failure: undefined, written: { lacks: undefined } });
  crossChains.publish([]);
  await vi.waitFor(() => expect(blocks()).toBe(2));
  await close();
});
