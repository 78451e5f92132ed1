import fs from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import type { Cryptoki } from './cryptoki.ts';
import { Token } from './token.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
const pinFile = join(folder, 'pin');
fs.writeFileSync(pinFile, '1234', { mode: 0o600 });
const READY = 0x8;

/** A module with one token, which counts what is asked of it. */
function fakeModule({ flags = READY, label = 'a', tokens = 1 } = {}) {
  const asked: string[] = [];
  const ask = (name: string): void => void asked.push(name);
  const cryptoki = {
    C_Initialize: () => ask('C_Initialize'),
    C_Finalize: () => ask('C_Finalize'),
    C_GetSlotList: () => Array.from({ length: tokens }, () => Buffer.alloc(8)),
    C_GetTokenInfo: () => ({ label: label.padEnd(32), flags }),
    C_OpenSession: () => {
      ask('C_OpenSession');
      return Buffer.alloc(8);
    },
    C_CloseSession: () => ask('C_CloseSession'),
    C_Login: () => ask('C_Login'),
  } as unknown as Cryptoki;
  return { cryptoki, asked };
}

const tokenOf = (cryptoki: Cryptoki, answerMs?: number) =>
  new Token({
    cryptoki,
    label: 'a',
    pin: { pinFile, refusedFile: join(folder, 'refused'), keyEncryptionKey: Buffer.alloc(32, 7) },
    ...(answerMs === undefined ? {} : { answerMs }),
  });

describe('a token', () => {
  beforeEach(() => fs.rmSync(join(folder, 'refused'), { force: true }));

  test.each([
    ['without a PIN', { flags: 0 }, 'key_refused', /has no user PIN yet/],
    ['that is locked', { flags: READY | 0x40000 }, 'key_refused', /is locked after wrong PINs/],
    [
      'with one try left',
      { flags: READY | 0x20000 },
      'key_refused',
      /one more wrong PIN before it locks itself/,
    ],
    ['of another label', { label: 'b' }, 'key_unreachable', /there is no token a/],
    ['that shares its label', { tokens: 2 }, 'key_wrong', /2 tokens have the label a/],
  ] as const)('I132 %s is not logged in to', async (_, about, code, message) => {
    const { cryptoki, asked } = fakeModule(about);
    await expect(tokenOf(cryptoki).use(() => 1)).rejects.toThrow(refusal(code, message));
    expect(asked).not.toContain('C_Login');
  });

  test.each(['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_LOCKED'])(
    'I132 that says %s is not asked again',
    async (name) => {
      const { cryptoki, asked } = fakeModule();
      const refusing = {
        ...cryptoki,
        C_Login: () => {
          asked.push('C_Login');
          throw new Error(`${name}:160`);
        },
      };
      const token = tokenOf(refusing);
      await expect(token.use(() => 1)).rejects.toThrow(refusal('key_refused', new RegExp(name)));
      await expect(token.use(() => 1)).rejects.toThrow(refusal('key_refused', /has refused the PIN/));
      await expect(tokenOf(refusing).use(() => 1)).rejects.toThrow(
        refusal('key_refused', /has refused the PIN/),
      );
      expect(asked.filter((each) => each === 'C_Login')).toHaveLength(1);
      expect(asked.filter((each) => each === 'C_OpenSession')).toHaveLength(
        asked.filter((each) => each === 'C_CloseSession').length,
      );
    },
  );

  test.each(['CKR_TOKEN_NOT_RECOGNIZED', 'CKR_DEVICE_ERROR'])(
    'I272 is found beside a slot of somebody else that answers %s',
    async (code) => {
      const { cryptoki } = fakeModule({ tokens: 2 });
      let slots = 0;
      const info = cryptoki.C_GetTokenInfo;
      cryptoki.C_GetTokenInfo = (slot) => {
        slots += 1;
        if (slots % 2 === 1) throw new Error(`${code}:225`);
        return info(slot);
      };
      expect(await tokenOf(cryptoki).use(() => 'works')).toBe('works');
    },
  );

  test('whose session was lost has another one, without its user noticing', async () => {
    const { cryptoki, asked } = fakeModule();
    const token = tokenOf(cryptoki);
    let calls = 0;
    const work = (): string => {
      calls += 1;
      if (calls === 1) throw new Error('CKR_SESSION_HANDLE_INVALID:179');
      return 'signed';
    };
    expect(await token.use(work)).toBe('signed');
    expect(calls).toBe(2);
    expect(asked.filter((each) => each === 'C_Login')).toHaveLength(2);
    const failing = () => {
      throw new Error('CKR_DEVICE_ERROR:48');
    };
    await expect(token.use(failing)).rejects.toThrow(
      refusal('key_unreachable', /token a failed: CKR_DEVICE_ERROR/),
    );
    await expect(token.once(failing)).rejects.toThrow(refusal('key_unreachable', /CKR_DEVICE_ERROR/));
  });

  test('that was lost is looked for by a module that begins anew, unless a session is still in use', async () => {
    const { cryptoki, asked } = fakeModule();
    const begun = () => asked.filter((each) => /C_(Initialize|Finalize)/.test(each));
    const lost = (): never => {
      throw new Error('CKR_TOKEN_NOT_PRESENT:224');
    };
    await expect(tokenOf(cryptoki).use(lost)).rejects.toThrow(refusal('key_unreachable', /NOT_PRESENT/));
    expect(begun()).toEqual(['C_Finalize', 'C_Initialize']);
    const [token, held] = [tokenOf(cryptoki), Promise.withResolvers<number>()];
    const holding = token.use(() => held.promise);
    await expect(token.use(lost)).rejects.toThrow(refusal('key_unreachable', /NOT_PRESENT/));
    expect(begun()).toHaveLength(2);
    held.resolve(1);
    await holding;
  });

  test('I134 that does not answer holds up nobody for longer than the bound, and is used again when it does', async () => {
    const { cryptoki } = fakeModule();
    const token = tokenOf(cryptoki, 50);
    const stuck = Promise.withResolvers<number>();
    const asked = Array.from({ length: 5 }, () => token.use(() => stuck.promise));
    for (const each of await Promise.allSettled(asked))
      expect(each).toMatchObject({
        reason: refusal('key_unreachable', /token a has not answered for 0.05 s/),
      });
    await expect(token.use(() => 'x')).rejects.toThrow(refusal('key_unreachable', /not answered/));
    stuck.resolve(1);
    expect(await token.use(() => 'signed')).toBe('signed');
  });

  test('gives a session to one user at a time, and opens two at most', async () => {
    const { cryptoki, asked } = fakeModule();
    const token = tokenOf(cryptoki);
    const inUse = new Set<unknown>();
    await Promise.all(
      Array.from({ length: 20 }, () =>
        token.use(async (session) => {
          expect(inUse.has(session)).toBe(false);
          inUse.add(session);
          await Promise.resolve();
          inUse.delete(session);
        }),
      ),
    );
    expect(asked.filter((each) => each === 'C_OpenSession')).toHaveLength(2);
    token.close();
    expect(asked.filter((each) => each === 'C_CloseSession')).toHaveLength(2);
    expect(asked.at(-1)).toBe('C_Finalize');
  });
});
