/** Row I82: the token and the root that Kubernetes mounts into the pod of a CA, and what may be put in their place. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openClusterApi } from '@chancery/ca/attestors/kubernetes/api.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { readBeside } from '@chancery/ca/config.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type KubernetesWorld, OURS, startKubernetesWorld } from '../../kit/kubernetes/world.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

let world: KubernetesWorld;
const folder = makeFolder();
beforeAll(async () => {
  world = await startKubernetesWorld();
});
afterAll(async () => {
  await world.close();
  removeFolder(folder);
});
const plain = (): string => world.server.cluster.tokenFor(world.pod, [OURS]);

describe('a CA in the cluster', () => {
  const own = () => join(folder, 'var/run/secrets/kubernetes.io/serviceaccount');
  beforeEach(() => {
    mkdirSync(own(), { recursive: true });
    writeFileSync(join(own(), 'token'), world.reviewer);
    writeFileSync(join(own(), 'ca.crt'), world.server.caPem);
    const { hostname, port } = new URL(world.server.url);
    vi.stubEnv('KUBERNETES_SERVICE_HOST', hostname);
    vi.stubEnv('KUBERNETES_SERVICE_PORT', port);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(own(), { recursive: true });
  });
  const open = () => {
    const config = KubernetesConfig.parse({ review: {} }).review ?? expect.fail('no review');
    const readFile = readBeside(join(folder, 'ca.yaml'));
    return openClusterApi(config, { type: 'kubernetes/eu-1', clock: world.clock, root: folder, readFile });
  };

  test('is the pod that it runs in', async () => {
    const api = await open();
    expect(await api.review(plain(), OURS)).toMatchObject({ authenticated: true, audiences: [OURS] });
    expect(await api.pod('agents', 'billing-0')).toMatchObject({ metadata: { uid: world.pod.uid } });
    expect(await api.pod('agents', 'nobody')).toBeUndefined();
  });

  test('follows its links, as the kubelet makes them', async () => {
    mkdirSync(join(own(), '..2026'));
    for (const name of ['token', 'ca.crt']) {
      renameSync(join(own(), name), join(own(), '..2026', name));
      symlinkSync(join('..data', name), join(own(), name));
    }
    symlinkSync('..2026', join(own(), '..data'));
    chmodSync(own(), 0o777);
    expect(await (await open()).review(plain(), OURS)).toMatchObject({ authenticated: true });
  });

  const spoilt: readonly [string, (path: string) => void, RegExp][] = [
    ['is a pipe', (path) => execFileSync('mkfifo', [path]), /expected, found a pipe/],
    ['leads to a device', (path) => symlinkSync('/dev/zero', path), /expected, found a device/],
    ['is giant', (path) => makeGiant(path), /\d+ bytes, at most/],
    ['may be written by others', (path) => makeOpen(path), /others may write it/],
    ['is missing', () => {}, /no such file/],
  ];
  test.each(
    ['token', 'ca.crt'].flatMap((name) =>
      spoilt.map(([what, make, says]) => [name, what, make, says] as const),
    ),
  )('I82 whose %s %s refuses at load', async (name, _, make, says) => {
    rmSync(join(own(), name));
    make(join(own(), name));
    await expect(open()).rejects.toEqual(refusal('config', says));
  });

  test('whose token is no token refuses at load', async () => {
    writeFileSync(join(own(), 'token'), 'two lines\nof text');
    await expect(open()).rejects.toEqual(refusal('config', /token is no token$/));
  });
});

function makeGiant(path: string): void {
  writeFileSync(path, '');
  truncateSync(path, 64 * 1024 * 1024);
}

function makeOpen(path: string): void {
  writeFileSync(path, 'x');
  chmodSync(path, 0o666);
}
