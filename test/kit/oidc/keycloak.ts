/** Keycloak, as its own distribution runs it, with one realm, one client and one person: a judge of our sign-in. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const ARTIFACT = '.m2/repository/org/keycloak/keycloak-quarkus-dist';
const VERSION = '26.0.7';
const ZIP = join(homedir(), ARTIFACT, VERSION, `keycloak-quarkus-dist-${VERSION}.zip`);
const START_MS = 400_000;

/** Why it cannot run here; undefined if it can. */
export function keycloakMissing(): string | undefined {
  if (!existsSync(ZIP))
    return `no Keycloak here (mvn dependency:get -Dartifact=org.keycloak:keycloak-quarkus-dist:${VERSION}:zip)`;
  if (spawnSync('java', ['-version']).status !== 0) return 'no Java here';
  return spawnSync('unzip', ['-v']).status === 0 ? undefined : 'no unzip here';
}

const realm = (password: string) => ({
  realm: 'prod',
  enabled: true,
  sslRequired: 'none',
  groups: [{ name: 'sre' }],
  users: [
    {
      ...{ username: 'ada', enabled: true, email: 'ada@prod.example', emailVerified: true },
      ...{ firstName: 'Ada', lastName: 'L', groups: ['/sre'] },
      credentials: [{ type: 'password', value: password, temporary: false }],
    },
  ],
  clients: [
    {
      ...{ clientId: 'chancery', publicClient: true, standardFlowEnabled: true },
      redirectUris: ['http://127.0.0.1/callback'],
      attributes: {
        'pkce.code.challenge.method': 'S256',
        'oauth2.device.authorization.grant.enabled': 'true',
      },
      protocolMappers: [
        {
          ...{ name: 'groups', protocol: 'openid-connect', protocolMapper: 'oidc-group-membership-mapper' },
          config: { 'claim.name': 'groups', 'full.path': 'false', 'id.token.claim': 'true' },
        },
      ],
    },
  ],
});

export interface Keycloak {
  readonly issuer: string;
  /** What a browser does with the address that `login` prints: types name and password, and follows to the end. */
  signIn(url: string): Promise<string>;
  stop(): Promise<void>;
}

/** Resolves when it answers. */
export async function startKeycloak(dir: string, port: number): Promise<Keycloak> {
  const unzipped = spawnSync('unzip', ['-q', ZIP, '-d', dir]);
  if (unzipped.status !== 0) throw new Error(String(unzipped.stderr));
  const home = join(dir, readdirSync(dir).find((name) => name.startsWith('keycloak-')) ?? '');
  mkdirSync(join(home, 'data/import'), { recursive: true });
  const password = 'correct horse';
  writeFileSync(join(home, 'data/import/prod-realm.json'), JSON.stringify(realm(password)));
  const args = ['start-dev', '--import-realm', '--http-host=127.0.0.1', `--http-port=${port}`];
  const command = ['--pdeathsig', 'TERM', join(home, 'bin/kc.sh'), ...args];
  const child = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const issuer = `http://127.0.0.1:${port}/realms/prod`;
  try {
    await answers(`${issuer}/.well-known/openid-configuration`, child, said);
  } catch (error) {
    await stop(child);
    throw error;
  }
  return { issuer, signIn: (url) => signIn(url, password), stop: () => stop(child) };
}

async function answers(url: string, child: ChildProcess, said: readonly string[]): Promise<void> {
  const until = Date.now() + START_MS;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok === true) return;
    if (child.exitCode !== null || Date.now() > until) throw new Error(`Keycloak: ${said.join('')}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  // The script and the Java below it are one group.
  process.kill(-child.pid, 'SIGTERM');
  await ended;
}

async function signIn(url: string, password: string): Promise<string> {
  const shown = await fetch(url, { redirect: 'manual' });
  const page = await shown.text();
  const [, action = ''] = /<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"/.exec(page) ?? [];
  if (action === '') throw new Error(`no form (${shown.status}): ${page.slice(0, 2000)}`);
  const cookie = shown.headers
    .getSetCookie()
    .map((each) => each.split(';')[0])
    .join('; ');
  const typed = await fetch(action.replaceAll('&amp;', '&'), {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ username: 'ada', password }).toString(),
  });
  const back = typed.headers.get('location');
  if (back === null) throw new Error(`no redirect (${typed.status}): ${(await typed.text()).slice(0, 2000)}`);
  return (await fetch(back)).text();
}
