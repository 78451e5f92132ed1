/** The keys of a CA moved into a token with a rotation of its root; the token pulled, and plugged in again. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { MODULE, makeSoftHsm, type SoftHsm, whyNoToken } from '../kit/keys/softhsm.ts';
import { type Load, startLoad } from '../kit/observe/load.ts';
import {
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'token.example';
const LOAD = `spiffe://${TRUST_DOMAIN}/load`;
const missing = whyNoToken();
if (missing !== undefined) console.log(`keys in a token are not tested: ${missing}`);

describe.skipIf(missing !== undefined)('keys in a token', () => {
  let dir: string;
  let hsm: SoftHsm;
  let ca: CaFolder;
  let serving: Running;
  let agent: Running;
  let load: Load;
  beforeAll(async () => {
    dir = makeFolder();
    hsm = makeSoftHsm(join(dir, 'hsm'), 'chancery');
    process.env['SOFTHSM2_CONF'] = hsm.env.SOFTHSM2_CONF;
    const id = `spiffe://${TRUST_DOMAIN}/job`;
    ({ ca, serving } = await serveUnixCa(join(dir, 'ca'), TRUST_DOMAIN, [
      { kind: 'Identity', name: 'job', platform: 'unix', id, x509: { ttl: '40s' } },
      { kind: 'Identity', name: 'load', platform: 'unix', id: LOAD, x509: { ttl: '20s' } },
    ]));
    const outputs = [{ dir: join(dir, 'out') }];
    fs.mkdirSync(join(dir, 'out'));
    agent = await makeAgent(ca, 'agent', { evidence: { unix: {} }, id, outputs }).run('run');
    load = await startLoad(ca, LOAD, 2);
  });
  afterAll(async () => {
    await load.stop();
    await agent.stop();
    await serving.stop();
    removeFolder(dir);
  });

  const readyz = async () => {
    const answer = await fetch(`http://127.0.0.1:${ca.httpPort}/readyz`);
    return `${answer.status} ${await answer.text()}`;
  };
  const keyFiles = () =>
    fs.readdirSync(join(ca.dir, 'data', 'keys')).filter((name) => /^[0-9a-f]+\.key$/.test(name));
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { encoding: 'utf8' });
  const serialOfOutput = () => openssl('x509', '-in', join(dir, 'out', 'svid.pem'), '-noout', '-serial');

  const keysInToken = () =>
    hsm.tool('--list-objects', '--type', 'privkey').split('Private Key Object').slice(1);
  const statusOf = async (): Promise<{ stage: string; waits: string[]; roots: { serial: string }[] }> =>
    JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout);
  const verified = () =>
    expect
      .poll(() => {
        const svid = join(dir, 'out', 'svid.pem');
        return openssl('verify', '-CAfile', join(dir, 'out', 'bundle.pem'), '-untrusted', svid, svid);
      })
      .toContain('OK');
  const more = async () => {
    const before = load.serials.size;
    await expect.poll(() => load.serials.size).toBeGreaterThan(before + 5);
  };

  test('a config that names the token leaves keys that exist where they are', async () => {
    expect(keyFiles()).toHaveLength(3);
    await serving.stop();
    const config = parse(fs.readFileSync(ca.config, 'utf8')) as object;
    const keys = {
      root: { home: 'pkcs11', algorithm: 'ecdsa-p384' },
      intermediate: { home: 'pkcs11' },
      jwt: { home: 'pkcs11', algorithm: 'ecdsa-p384' },
      pkcs11: { module: MODULE, token: 'chancery', pinFile: hsm.pinFile },
    };
    fs.writeFileSync(ca.config, stringify({ ...config, keys }));
    expect(await ca.cli('check')).toMatchObject({ status: 0 });
    serving = await ca.serve();
    expect([keyFiles().length, keysInToken()]).toEqual([3, []]);
    await more();
  });

  test('a move into the token that is taken back, while published and while retiring, under load', async () => {
    const [before] = (await statusOf()).roots;
    expect(await ca.cli('rotate')).toMatchObject({ status: 0 });
    expect(keysInToken()).toHaveLength(1);
    expect(await ca.cli('rotate', 'rollback')).toMatchObject({ status: 0 });
    await expect.poll(keysInToken).toEqual([]);

    expect(await ca.cli('rotate')).toMatchObject({ status: 0 });
    // What starts from a file needs both roots from now on.
    await ca.saveBundle();
    await expect.poll(async () => (await ca.cli('rotate', 'next')).status).toBe(0);
    expect(keysInToken()).toHaveLength(2);
    const served = serialOfOutput();
    await expect.poll(serialOfOutput).not.toBe(served);
    await verified();
    expect(await ca.cli('rotate', 'rollback')).toMatchObject({ status: 0 });
    expect(await statusOf()).toMatchObject({
      stage: 'retiring',
      roots: [{ serial: before?.serial }, {}, {}],
    });
    await expect.poll(async () => (await statusOf()).waits).toEqual([]);
    expect(await ca.cli('rotate', 'next', '--yes')).toMatchObject({ status: 0 });
    expect((await statusOf()).roots[0]).toMatchObject({ serial: before?.serial, state: 'active' });
    await expect.poll(keysInToken).toEqual([]);
    expect(keyFiles()).toHaveLength(3);
    await verified();
    await more();
    expect(agent.log()).not.toContain('could not be renewed');
  }, 300_000);

  test('root and issuing key move from files to the token in one rotation, and the JWT key in its own', async () => {
    expect(await ca.cli('rotate')).toMatchObject({ status: 0 });
    await ca.saveBundle();
    expect(await ca.cli('rotate', '--auto')).toMatchObject({ status: 0 });
    const found = keysInToken();
    expect(found).toHaveLength(2);
    for (const each of found) expect(each).toContain('sensitive, always sensitive, never extractable, local');
    await expect.poll(keyFiles).toHaveLength(1);
    await ca.saveBundle();
    // A root that stands by is in the bundle, too, with its key in a file of its own.
    const roots = readPem(fs.readFileSync(ca.bundle, 'utf8'), 'CERTIFICATE', 'bundle').map(
      (der) => new X509Certificate(der),
    );
    expect(roots.map(({ publicKey }) => publicKey.asymmetricKeyDetails?.namedCurve)).toContain('secp384r1');
    const [made] = roots.filter(
      ({ publicKey }) => publicKey.asymmetricKeyDetails?.namedCurve === 'secp384r1',
    );
    fs.writeFileSync(join(dir, 'root.pem'), made?.toString() ?? '');
    expect(openssl('x509', '-in', join(dir, 'root.pem'), '-noout', '-text')).toContain('ecdsa-with-SHA384');
    await verified();
    await more();
    expect(agent.log()).not.toContain('could not be renewed');
    expect(await ca.cli('check')).toMatchObject({ status: 0 });
    const [old = ''] = keyFiles().map((name) => name.replace('.key', ''));
    expect(await ca.cli('rotate', 'jwt')).toMatchObject({ status: 0 });
    const waiver = ['--yes-to-stragglers', '--reason', 'no token is anywhere yet'];
    expect(await ca.cli('rotate', 'jwt', 'next', ...waiver)).toMatchObject({ status: 0 });
    expect(await ca.cli('taint', old, '--reason', 'a drill', '--yes')).toMatchObject({ status: 0 });
    await expect.poll(keyFiles).toEqual([]);
    expect(keysInToken()).toHaveLength(3);
    // What follows stops the CA and pulls the token.
    await load.stop();
  }, 400_000);

  test('a backup says which keys are not in it', async () => {
    const made = await ca.cli('backup', join(dir, 'backup'), '--json');
    expect(made.status).toBe(0);
    const { keysElsewhere } = JSON.parse(made.stdout) as { keysElsewhere: readonly object[] };
    for (const kind of ['root', 'intermediate'])
      expect(keysElsewhere).toContainEqual({
        kind,
        serial: expect.any(String),
        home: 'pkcs11',
        reference: expect.stringMatching(/^pkcs11:token=chancery;object=chancery-/),
      });
    expect((await ca.cli('backup', 'verify', join(dir, 'backup'))).stdout).toMatch(
      /not in it: the key of root [0-9a-f]+, in pkcs11: pkcs11:token=chancery;object=/,
    );
    await serving.stop();
    const data = join(ca.dir, 'data');
    fs.renameSync(data, `${data}.lost`);
    const loss = ['--accept-loss', '--reason', 'a test'];
    expect(await ca.cli('restore', join(dir, 'backup'), ...loss)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('not in it: the key of intermediate'),
    });
    serving = await ca.serve();
    expect(await readyz()).toMatch(/^200 /);
  });

  test('a token that is pulled makes the CA not ready, and comes back without hands', async () => {
    expect(await readyz()).toMatch(/^200 /);
    const before = serialOfOutput();
    const away = `${hsm.tokens}.away`;
    fs.renameSync(hsm.tokens, away);
    fs.mkdirSync(hsm.tokens);
    await expect.poll(readyz).toMatch(/^503 .*(token chancery|not in the token)/);
    expect((await ca.cli('issued')).status).toBe(0);
    fs.rmdirSync(hsm.tokens);
    fs.renameSync(away, hsm.tokens);
    await expect.poll(readyz).toMatch(/^200 /);
    await expect.poll(serialOfOutput).not.toBe(before);
    // What was recorded and not signed has its failure on record.
    const failed = await ca.cli('audit', 'query', '--text', 'svid.failed', '--json');
    expect(failed.stdout).toMatch(/token chancery|not in the token/);
  });

  test('a CA whose token is away at its start says so, and what to do', async () => {
    await serving.stop();
    const away = `${hsm.tokens}.away`;
    fs.renameSync(hsm.tokens, away);
    fs.mkdirSync(hsm.tokens);
    const { status, stderr } = await ca.cli('serve');
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/there is no token chancery: is it plugged in/),
    ]);
    fs.rmdirSync(hsm.tokens);
    fs.renameSync(away, hsm.tokens);
    serving = await ca.serve();
    expect(await readyz()).toMatch(/^200 /);
  });
});
