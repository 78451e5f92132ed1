import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { byCode, type CodeDeps } from './code.ts';

const uid = process.geteuid?.() ?? 0;
const issuer = 'https://issuer.example';
const endpoints = { issuer, authorization: `${issuer}/auth`, token: `${issuer}/token`, device: undefined };
const asked = { clientId: 'chancery', nonce: 'n', again: false };
const outbound = {
  request: async () => ({ status: 200, headers: {}, body: utf8('{"id_token":"a.b.c"}') }),
} as unknown as Outbound;

/** `open` gets the address that the issuer would send the browser to, with this state. */
function signIn(open: (callback: URL) => unknown, own: CodeDeps['own'] = { uid, platform: 'linux' }) {
  const show = (shown: string): void => {
    const { searchParams } = new URL(shown);
    const callback = new URL(searchParams.get('redirect_uri') ?? '');
    callback.searchParams.set('state', searchParams.get('state') ?? '');
    callback.searchParams.set('code', 'c');
    void open(callback);
  };
  const deps = { outbound, ca: undefined, show, signal: new AbortController().signal, own };
  return byCode(endpoints, asked, deps);
}
const get = (url: URL) => fetch(url).then((answer) => answer.text());

test('the answer of the own browser is taken, on each system', async () => {
  expect(await signIn(get)).toBe('a.b.c');
  expect(await signIn(get, { uid: uid + 1, platform: 'darwin' })).toBe('a.b.c');
});

test('what has another state changes nothing', async () => {
  const answers: string[] = [];
  const token = signIn(async (callback) => {
    const other = new URL(callback);
    other.searchParams.set('state', 'guessed');
    answers.push(await get(other));
    await get(callback);
  });
  expect(await token).toBe('a.b.c');
  expect(answers).toEqual(['not the answer of this sign-in\n']);
});

describe('I318 another user of the machine, who has read the address', () => {
  const script = (url: URL) => `fetch(${JSON.stringify(url.href)}).then((answer) => answer.text())`;
  const nobody = { uid: 65_534, gid: 65_534, stdio: 'ignore', cwd: '/' } as const;

  test.runIf(uid === 0)('signs nobody in, and the command ends and says so', async () => {
    const ended: Promise<unknown>[] = [];
    const token = signIn((url) => {
      ended.push(once(spawn(process.execPath, ['-e', script(url)], nobody), 'exit'));
    });
    const says = /^another user \(uid 65534\) of this machine has answered the sign-in, .*--device$/;
    await expect(token).rejects.toThrow(refusal('unavailable', says));
    await Promise.all(ended);
  });

  test.runIf(uid === 0)('is not taken for root where it has closed its end', async () => {
    const cut = ({ port, pathname, search }: URL) =>
      `require('net').connect(${port}, '127.0.0.1', function () {
        this.end('GET ${pathname}${search} HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n', () => process.exit()); })`;
    // It has ended before this process reads the request.
    const token = signIn((url) => spawnSync(process.execPath, ['-e', cut(url)], nobody));
    await expect(token).rejects.toThrow(refusal('unavailable', /^a program whose user is not known/));
  });

  test.runIf(uid !== 0)('is told from the own user', async () => {
    const token = signIn(get, { uid: uid + 1, platform: 'linux' });
    await expect(token).rejects.toThrow(refusal('unavailable', /^another user/));
  });
});
