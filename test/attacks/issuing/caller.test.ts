/**
 * I28: callers on a unix socket that lie about themselves. Executable, cgroup and mounts are the caller's to forge or to
 * remove, so nothing is read of them: what the kernel says of the user is all that is believed.
 */
import { execFile } from 'node:child_process';
import { constants, copyFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { root } from '../../kit/processes.ts';

let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({});
  await ca.apply({ kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w` });
});
afterAll(() => ca.close());

const JOIN = `
import { readlinkSync, unlinkSync } from 'node:fs';
import { unixEvidence } from '${root}agent/src/evidence/unix.ts';
import { unixTarget } from '${root}agent/src/svid/channel.ts';
import { join } from '${root}agent/src/svid/obtain.ts';
import { AttestationClient } from '${root}proto/src/gen/chancery/v1/attestation.ts';
const [socket, bundle] = process.argv.slice(1);
unlinkSync(process.execPath);
process.title = '(root) 0 0 0 /usr/bin/chancery-agent';
console.log(readlinkSync('/proc/self/exe'));
const { address, credentials, options } = unixTarget(socket);
const client = new AttestationClient(address, credentials, options);
const authorities = JSON.parse(bundle).map((each) => Buffer.from(each, 'base64'));
const svid = await join(client, {
  evidence: unixEvidence(),
  bundle: { trustDomain: '${TRUST_DOMAIN}', authorities, sequence: 0n },
  id: undefined,
  instance: Buffer.alloc(16),
  clock: { now: () => new Date() },
  signal: AbortSignal.timeout(120_000),
});
console.log(svid.id);
client.close();
`;

test('I28 a caller whose executable is gone and whose title lies is its user and no more', async () => {
  const program = joinPath(ca.dir, 'node');
  copyFileSync(process.execPath, program, constants.COPYFILE_FICLONE);
  const bundle = JSON.stringify(ca.bundle.authorities.map((der) => Buffer.from(der).toString('base64')));
  const args = ['--input-type=module', '-e', JOIN, ca.joinSocket, bundle];
  const { stdout } = await promisify(execFile)(program, args);
  expect(stdout.trim().split('\n')).toEqual([`${program} (deleted)`, `spiffe://${TRUST_DOMAIN}/w`]);
  const events = (await ca.store.events(0, 1000)).map(({ event }) => event);
  const attested = events.findLast(({ type }) => type === 'node.attested');
  expect(attested).toMatchObject({
    node: `uid/${process.getuid?.()}`,
    attributes: { 'unix.uid': String(process.getuid?.()), 'unix.gid': String(process.getgid?.()) },
  });
  expect(Object.keys((attested as { attributes: object }).attributes)).toHaveLength(2);
});
