/** The keys of a CA in AWS KMS: troubles of KMS under load, and a root that moves there from its file. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Directory } from '../kit/aws/directory.ts';
import { type Kms, startKms } from '../kit/aws/kms.ts';
import { type Load, readRecorded, startLoad } from '../kit/observe/load.ts';
import {
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const ACCOUNT = '123456789012';
const TRUST_DOMAIN = 'kms.example';
const LOAD = `spiffe://${TRUST_DOMAIN}/load`;
const JOB = `spiffe://${TRUST_DOMAIN}/job`;
const PATIENCE = { timeout: 60_000, interval: 100 };

let dir: string;
let kms: Kms;
let ca: CaFolder;
let serving: Running;
let agent: Running;
let load: Load;
beforeAll(async () => {
  dir = makeFolder();
  const directory = new Directory();
  const key = directory.assumeRole(directory.account(ACCOUNT), 'ca');
  kms = await startKms({ directory });
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  process.env['AWS_ACCESS_KEY_ID'] = key.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = key.secretAccessKey;
  process.env['AWS_SESSION_TOKEN'] = key.sessionToken;
  const identity = (name: string, id: string, ttl: string) => ({
    ...{ kind: 'Identity', name, platform: 'unix', id },
    x509: { ttl },
  });
  ({ ca, serving } = await serveUnixCa(
    join(dir, 'ca'),
    TRUST_DOMAIN,
    [identity('job', JOB, '40s'), identity('load', LOAD, '30s')],
    { keys: { intermediate: { home: 'aws-kms' }, 'aws-kms': { region: kms.region, endpoint: kms.url } } },
  ));
  fs.mkdirSync(join(dir, 'out'));
  const outputs = [{ dir: join(dir, 'out') }];
  agent = await makeAgent(ca, 'agent', { evidence: { unix: {} }, id: JOB, outputs }).run('run');
  load = await startLoad(ca, LOAD, 4);
});
afterAll(async () => {
  await load.stop();
  await agent.stop();
  await serving.stop();
  await kms.close();
  removeFolder(dir);
});

const readyz = async () => {
  const answer = await fetch(`http://127.0.0.1:${ca.httpPort}/readyz`);
  return `${answer.status} ${await answer.text()}`;
};
const issuing = () => {
  const [first] = [...kms.keys.values()].filter(({ state }) => state !== 'PendingDeletion');
  if (first === undefined) throw new Error('no key');
  return first;
};
const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { encoding: 'utf8' });
const more = async (than: number) => expect.poll(() => load.serials.size, PATIENCE).toBeGreaterThan(than);

test.each([
  [
    'throttled',
    () => Object.assign(kms.trouble, { throttled: Number.POSITIVE_INFINITY }),
    () => Object.assign(kms.trouble, { throttled: 0 }),
    /throttles kms:Sign/,
  ],
  [
    'slow',
    () => Object.assign(kms.trouble, { slowMs: 11_000 }),
    () => Object.assign(kms.trouble, { slowMs: 0 }),
    /has not answered kms:Sign for 10 s/,
  ],
  [
    'denied',
    () => kms.trouble.denied.add('kms:Sign'),
    () => kms.trouble.denied.clear(),
    /does not allow kms:Sign/,
  ],
  [
    'with its key disabled',
    () => Object.assign(issuing(), { state: 'Disabled' }),
    () => Object.assign(issuing(), { state: 'Enabled' }),
    /has disabled the key/,
  ],
])(
  'I107 KMS %s: the CA says why it is not ready, and issues again without hands',
  async (_, begin, end, says) => {
    await more(load.serials.size + 5);
    const refused = load.refused();
    begin();
    await expect.poll(readyz, PATIENCE).toMatch(new RegExp(`^503 .*${says.source}`));
    await expect.poll(load.refused, PATIENCE).toBeGreaterThan(refused);
    // Reading and revoking need no key.
    expect((await ca.cli('issued')).status).toBe(0);
    const failed = await ca.cli('audit', 'query', '--text', 'svid.failed', '--json');
    expect(failed.stdout).toMatch(says);
    end();
    await expect.poll(readyz, PATIENCE).toMatch(/^200 /);
    await more(load.serials.size + 5);
  },
);

test('a root on P-384 in KMS takes over from the one in a file, under load', async () => {
  await serving.stop();
  const config = parse(fs.readFileSync(ca.config, 'utf8')) as { keys: object };
  const { arn } = kms.make(ACCOUNT, { spec: 'ECC_NIST_P384', description: 'the root, by an operator' });
  kms.aliases.set('alias/root', arn);
  const named = { region: kms.region, endpoint: kms.url, rootKey: 'alias/root' };
  const root = { home: 'aws-kms', algorithm: 'ecdsa-p384' };
  const keys = { ...config.keys, root, 'aws-kms': named };
  fs.writeFileSync(ca.config, stringify({ ...config, keys }));
  expect(await ca.cli('check')).toMatchObject({ status: 0 });
  serving = await ca.serve();
  const before = load.serials.size;
  expect(await ca.cli('rotate', '--auto')).toMatchObject({ status: 0 });
  await more(before + 5);
  await ca.saveBundle();
  // Keys of what has ended are not kept, in files or in KMS.
  const files = () =>
    fs.readdirSync(join(ca.dir, 'data', 'keys')).filter((name) => /^[0-9a-f]+\.key$/.test(name));
  const { stdout } = await ca.cli('rotate', 'jwt', 'status', '--json');
  const [jwt] = (JSON.parse(stdout) as { roots: { serial: string }[] }).roots;
  await expect.poll(files, PATIENCE).toEqual([`${jwt?.serial}.key`]);
  const specs = [...kms.keys.values()].filter(({ state }) => state === 'Enabled').map(({ spec }) => spec);
  expect(specs.toSorted()).toEqual(['ECC_NIST_P256', 'ECC_NIST_P384']);
  const roots = readPem(fs.readFileSync(ca.bundle, 'utf8'), 'CERTIFICATE', 'bundle').map(
    (der) => new X509Certificate(der),
  );
  const made = roots.find(({ publicKey }) => publicKey.asymmetricKeyDetails?.namedCurve === 'secp384r1');
  fs.writeFileSync(join(dir, 'root.pem'), made?.toString() ?? '');
  const svid = join(dir, 'out', 'svid.pem');
  await expect
    .poll(() => openssl('verify', '-CAfile', join(dir, 'root.pem'), '-untrusted', svid, svid), PATIENCE)
    .toContain('OK');
  expect(openssl('x509', '-in', join(dir, 'root.pem'), '-noout', '-text')).toContain('ecdsa-with-SHA384');
  await more(load.serials.size + 5);
  expect((await ca.cli('authorities', '--json')).stdout).toContain(arn);
  expect(await ca.cli('rotate')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/is that of authority [0-9a-f]+ already: each authority has its own/),
  });
  expect(kms.keys.get(arn)?.state).toBe('Enabled');
});

test('a backup says which keys are not in it', async () => {
  const { status, stdout } = await ca.cli('backup', join(dir, 'backup'), '--json');
  expect(status).toBe(0);
  const { keysElsewhere } = JSON.parse(stdout) as { keysElsewhere: readonly object[] };
  for (const kind of ['root', 'intermediate'])
    expect(keysElsewhere).toContainEqual({
      ...{ kind, serial: expect.any(String), home: 'aws-kms' },
      reference: expect.stringMatching(/^arn:aws:kms:eu-west-1:123456789012:key\//),
    });
});

test('I107 all that anybody got is on record, and what was recorded and not signed has its failure', async () => {
  await load.stop();
  await serving.stop();
  const { recorded, logged } = readRecorded(ca);
  expect([...load.serials].filter((serial) => !recorded.has(serial))).toEqual([]);
  expect(recorded).toEqual(logged);
  kms.trouble.denied.add('kms:GetPublicKey');
  expect(await ca.cli('serve')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/does not allow kms:GetPublicKey arn:.*: give that permission/),
  });
  kms.trouble.denied.clear();
  serving = await ca.serve();
  expect(await readyz()).toMatch(/^200 /);
});
