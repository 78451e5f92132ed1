/** The JWT signing key of a real CA: made by itself, in the bundle of a real agent, served, rotated and tainted. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'jwt.example';
const ISSUER = 'https://id.jwt.example';

let dir: string;
let port: number;
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running;
beforeAll(async () => {
  dir = makeFolder();
  port = await freePort();
  const [certificate, key] = [join(dir, 'jwt.pem'), join(dir, 'jwt.key')];
  const made = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=jwt', '-addext', 'subjectAltName=DNS:id.jwt.example'];
  execFileSync('openssl', ['req', ...made, ...name, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  const jwt = { issuer: ISSUER, listen: `127.0.0.1:${port}`, certificate, key };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {} }, jwt });
  serving = await ca.serve();
  await ca.saveBundle();
  const id = `spiffe://${TRUST_DOMAIN}/web`;
  await ca.apply([{ kind: 'Identity', name: 'web', platform: 'unix', id }]);
  agent = makeAgent(ca, 'web', { evidence: { unix: {} }, id });
  running = await agent.run();
});
afterAll(async () => {
  await running.stop();
  await serving.stop();
  removeFolder(dir);
});

const get = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const trust = {
      ca: readFileSync(join(dir, 'jwt.pem')),
      servername: 'id.jwt.example',
      agent: false,
    } as const;
    https
      .get({ host: '127.0.0.1', port, path, ...trust }, (response) => {
        let body = '';
        response.on('data', (part) => {
          body += part;
        });
        response.on('end', () => resolve(body));
      })
      .on('error', reject);
  });
interface Keys {
  readonly keys: readonly { readonly kid?: string; readonly use: string }[];
}
const kidsOf = ({ keys }: Keys): readonly string[] =>
  keys.flatMap(({ kid, use }) => (use !== 'x509-svid' && kid !== undefined ? [kid] : []));
const served = async () => kidsOf(JSON.parse(await get('/keys')));
const inBundle = async () => kidsOf(JSON.parse((await ca.cli('bundle', '--format', 'spiffe')).stdout));
const atAgent = (): readonly string[] => {
  const { bundle } = JSON.parse(readFileSync(join(agent.dir, 'data', 'state.json'), 'utf8'));
  return (bundle.jwtAuthorities ?? []).map(({ keyId }: { readonly keyId: string }) => keyId);
};
const everywhere = async (kids: readonly string[]) => {
  expect([await served(), await inBundle()]).toEqual([kids, kids]);
  await vi.waitFor(() => expect(atAgent()).toEqual(kids), 20_000);
};
const must = async (...args: readonly string[]): Promise<string> => {
  const ran = await ca.cli(...args);
  expect(ran.stderr).toBe('');
  expect(ran.status).toBe(0);
  return ran.stdout;
};

test('init has made one, and the agent, the key set and the bundle document have it', async () => {
  const [kid = ''] = await served();
  await everywhere([kid]);
  expect(JSON.parse(await get('/.well-known/openid-configuration'))).toMatchObject({
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/keys`,
  });
  expect(await must('authorities')).toMatch(new RegExp(`^${kid} +jwt +active .* - +${kid} +file +0$`, 'm'));
  expect(await must('rotate', 'jwt', 'status')).toMatch(
    new RegExp(`^idle: no rotation of the JWT key is under way\nJWT KEY +STATE[\\s\\S]*${kid} +active`),
  );
});

test('each step says what it made, what comes next and what that waits for; hints are never refused ones', async () => {
  const [old = ''] = await served();
  const dry = await must('rotate', 'jwt', '--dry-run');
  expect(dry).toMatch(/nothing was changed \(dry run\)$/m);
  expect(await served()).toEqual([old]);
  const begun = await must('rotate', 'jwt');
  expect(begun).toMatch(/^published: the new JWT key is in bundle and key set, and signs nothing yet$/m);
  expect(begun).toMatch(
    /^waits, before the step that lets the new JWT key sign:\n {2}caches may have a key set/m,
  );
  expect(begun).not.toMatch(/^next:/m);
  const made = (await served()).find((each) => each !== old) ?? '';
  await everywhere([old, made]);
  expect((await ca.cli('rotate', 'jwt', 'next')).stderr).toMatch(/not yet: caches/);
});

test('an operator may go on; the old key verifies until its tokens have ended, and no waiver changes that', async () => {
  const next = await must('rotate', 'jwt', 'next', '--yes-to-stragglers', '--reason', 'a drill');
  expect(next).toMatch(/^made: {2}the step that lets the new JWT key sign\nretiring: /);
  expect(await served()).toHaveLength(2);
  const refused = await ca.cli('rotate', 'jwt', 'next', '--yes-to-stragglers', '--reason', 'hurry');
  expect(refused.stderr).toMatch(/not yet: tokens that the retiring key has signed may live until/);
  expect(await must('rotate', 'jwt', 'rollback')).toMatch(/^retiring: /);
});

test('a stolen key leaves bundle, key set and agent at once, and says so first', async () => {
  const { authorities } = JSON.parse(await must('authorities', '--json'));
  const stolen = authorities.find(
    (each: { kind: string; state: string }) => each.kind === 'jwt' && each.state === 'active',
  );
  const asked = await ca.cli('taint', stolen.serial, '--reason', 'a drill');
  expect(asked.stdout).toMatch(/^would taint JWT key \w+: every token that it has signed is refused/);
  expect([asked.status, (await served()).length]).toEqual([1, 2]);
  const done = await must('taint', stolen.serial, '--reason', 'a drill', '--yes');
  expect(done).toMatch(/^tainted JWT key \w+ \(revocation 1\): no token of it is good/);
  const left = await served();
  expect(left).toHaveLength(1);
  expect(left).not.toContain(stolen.serial);
  await everywhere(left);
  expect(JSON.parse(await must('authorities', '--all', '--json')).authorities).toContainEqual(
    expect.objectContaining({ serial: stolen.serial, state: 'tainted' }),
  );
});

test('a CA from before has one after its first start, without hands', async () => {
  await serving.stop();
  const db = new DatabaseSync(join(dir, 'data', 'ca.db'));
  db.exec('DELETE FROM jwt_keys');
  db.close();
  serving = await ca.serve();
  const [kid = '', ...more] = await served();
  expect([kid, more]).toEqual([expect.stringMatching(/^[0-9a-f]{40}$/), []]);
  await everywhere([kid]);
}, 60_000);
