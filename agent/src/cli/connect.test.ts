import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { describe, expect, test, vi } from 'vitest';
import { ensureRegistered, sayingWhy } from './connect.ts';

const server = {
  kind: 'McpServer',
  name: 'github',
  identity: 'spiffe://prod.example/tools/github',
  address: '127.0.0.1:1',
};
const policy = compilePolicy([McpServer.parse(server)], 1n);
const source = (first?: Policy) =>
  new LiveValue(() => new IdentityError('unavailable', 'no policy yet'), first);
const { signal } = new AbortController();

test('a server that is registered is found, also by a policy that comes later', async () => {
  await ensureRegistered('github', source(policy), signal);
  const later = source();
  const found = ensureRegistered('github', later, signal);
  later.publish(policy);
  await found;
});

test('a server that is not registered ends connect, with those that are', async () => {
  await expect(ensureRegistered('gitlab', source(policy), signal)).rejects.toMatchObject({
    code: 'server_unknown',
    message: 'no server is registered as gitlab for this identity; registered: github',
  });
});

test('a client that leaves ends the wait for a policy', async () => {
  const left = new AbortController();
  const waiting = ensureRegistered('github', source(), left.signal);
  left.abort(new IdentityError('unavailable', 'the client has left'));
  await expect(waiting).rejects.toThrow('the client has left');
});

describe('what connect waits for', () => {
  const told: string[] = [];
  const io = { err: (text: string) => void told.push(text) };

  test('is said where it takes its time, and that it is over', async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const working = sayingWhy('the CA at ca.example:8443', io, () => promise, 1);
    await vi.waitFor(() => expect(told).toHaveLength(1));
    resolve(7);
    expect(await working).toBe(7);
    expect(told.splice(0)).toEqual([
      'waiting for the CA at ca.example:8443; it is tried again until it answers\n',
      'it answered\n',
    ]);
  });

  test('is not said where it comes at once, or fails', async () => {
    expect(await sayingWhy('x', io, async () => 1, 60_000)).toBe(1);
    await expect(sayingWhy('x', io, () => Promise.reject(new Error('no')), 60_000)).rejects.toThrow('no');
    expect(told).toEqual([]);
  });
});
