import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { OutboundReply } from '@chancery/shared/outbound/http.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { byDevice } from './device.ts';

const ISSUER = 'https://issuer.example';
const endpoints = {
  issuer: ISSUER,
  authorization: `${ISSUER}/auth`,
  token: `${ISSUER}/token`,
  device: `${ISSUER}/device`,
};
const asked = { clientId: 'chancery', nonce: 'our nonce', again: false };
const CODE = { device_code: 'd', user_code: 'AB-CD', verification_uri: `${ISSUER}/enter`, expires_in: 600 };

const reply = (status: number, body: object | string): OutboundReply => ({
  ...{ status, contentType: '' },
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
});
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const tokenWith = (claims: object) => `${part({ alg: 'ES256', kid: 'k' })}.${part(claims)}.c2ln`;
const GOOD = tokenWith({ iss: ISSUER, nonce: asked.nonce });
const signedIn = (token = GOOD) => reply(200, { id_token: token });
const pending = () => reply(400, { error: 'authorization_pending' });

/** Signs in at an issuer that gives these answers to the polls, the last one for ever. */
async function signIn(...answers: readonly (() => OutboundReply)[]) {
  let now = new Date('2026-12-01T00:00:00Z');
  const pauses: number[] = [];
  const clock: Clock = {
    now: () => now,
    sleepUntil: async (time) => {
      pauses.push((time.getTime() - now.getTime()) / 1000);
      now = time;
    },
  };
  let said = '';
  const show = (text: string): void => {
    said += text;
  };
  let polls = 0;
  const request = async ({ url }: { readonly url: string }) => {
    if (url === endpoints.device) return reply(200, CODE);
    const answer = answers[Math.min(polls, answers.length - 1)] ?? pending;
    polls += 1;
    return answer();
  };
  const outbound = { request, close: () => {} };
  const { signal } = new AbortController();
  const token = await byDevice(endpoints, asked, { outbound, ca: undefined, clock, signal, show });
  return { token, pauses, said };
}

const reset = () => {
  throw new IdentityError('platform_unavailable', `${ISSUER}/token: ECONNRESET`);
};

describe('a poll that fails for the moment does not end a device sign-in:', () => {
  test.each<[string, () => OutboundReply, RegExp]>([
    ['a page of a proxy', () => reply(502, '<html>Bad gateway</html>'), /answered 502; asking again/],
    ['503', () => reply(503, { error: 'temporarily_unavailable' }), /answered 503;/],
    ['429', () => reply(429, { message: 'too many' }), /answered 429;/],
    ['a connection that is reset', reset, /ECONNRESET;/],
  ])('%s', async (_, bad, says) => {
    const { token, pauses, said } = await signIn(pending, bad, bad, pending, signedIn);
    expect(token).toBe(GOOD);
    expect(pauses).toEqual([5, 5, 10, 20, 5]);
    expect(said.match(/asking again/g)).toHaveLength(1);
    expect(said).toMatch(says);
  });

  test('until the code ends', async () => {
    const says = /^nobody has entered the code in time: .*; at last the issuer answered 502$/;
    await expect(signIn(() => reply(502, ''))).rejects.toThrow(refusal('unavailable', says));
  });
});

test.each<[string, OutboundReply, RegExp]>([
  ['a refusal of the person', reply(400, { error: 'access_denied' }), /refused \(400\): access_denied$/],
  ['an error that nobody knows', reply(400, { error: 'odd' }), /refused \(400\): odd$/],
  ['a page', reply(200, '<html>'), /a value is expected/],
])('%s ends it', async (_, answer, says) => {
  await expect(signIn(pending, () => answer)).rejects.toThrow(refusal('unavailable', says));
});

test.each([
  ['no nonce', { iss: ISSUER }],
  ['another nonce than it was given', { iss: ISSUER, nonce: 'theirs' }],
])('an ID token with %s is not sent to the CA, and what to do is said', async (what, claims) => {
  const says = new RegExp(
    `^${ISSUER} puts ${what} into .*: sign in with a browser on this machine, without --device$`,
  );
  await expect(signIn(() => signedIn(tokenWith(claims)))).rejects.toThrow(refusal('unavailable', says));
});

test('slow_down makes the pause longer for good', async () => {
  const slow = () => reply(400, { error: 'slow_down' });
  expect((await signIn(slow, slow, signedIn)).pauses).toEqual([5, 10, 15]);
});
