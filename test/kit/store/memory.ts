/** What attestors remember of nodes and tokens. */
import { nodeMemory } from '@chancery/ca/store/node-memory.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { expect, test, vi } from 'vitest';
import { after } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import type { Subject } from './subject.ts';

export function memoryTests(subject: Subject): void {
  stateTests(subject);
  advanceTests(subject);
  tokenTests(subject);
}

const a = { platform: 'tpm', node: 'a' };

function stateTests(subject: Subject): void {
  test('a node has a state of its own, across a restart', async () => {
    expect(await subject.store.nodeState(a)).toBeUndefined();
    expect(await subject.store.swapNodeState(a, undefined, '1')).toBe(true);
    expect(await subject.store.swapNodeState(a, '1', '2')).toBe(true);
    await subject.restart();
    expect(await subject.store.nodeState(a)).toBe('2');
    expect(await subject.store.nodeState({ ...a, node: 'b' })).toBeUndefined();
    expect(await subject.store.nodeState({ ...a, platform: 'unix' })).toBeUndefined();
  });

  test('a state is swapped only from what it is', async () => {
    expect(await subject.store.swapNodeState(a, '0', '1')).toBe(false);
    expect(await subject.store.swapNodeState(a, undefined, '1')).toBe(true);
    expect(await subject.store.swapNodeState(a, undefined, '2')).toBe(false);
    expect(await subject.store.swapNodeState(a, '0', '2')).toBe(false);
    expect(await subject.store.nodeState(a)).toBe('1');
  });
}

function advanceTests(subject: Subject): void {
  const advance = (next: (before: string | undefined) => string) =>
    nodeMemory(subject.store).advance(a.platform, a.node, next);

  test('an advance is given the state before; what it throws leaves the state and comes out as it is', async () => {
    const refused = new IdentityError('rollback', 'went backwards');
    await advance((before) => `${before ?? 'none'} 1`);
    const failed = advance(() => {
      throw refused;
    });
    await expect(failed).rejects.toBe(refused);
    await advance((before) => `${before} 2`);
    expect(await subject.store.nodeState(a)).toBe('none 1 2');
  });

  test('an advance to the state before writes nothing', async () => {
    await advance(() => '1');
    const swap = vi.spyOn(subject.store, 'swapNodeState');
    await advance(() => '1');
    expect(swap).not.toHaveBeenCalled();
  });

  test('of many advances at the same moment none is lost', async () => {
    await advance(() => '0');
    const memory = nodeMemory(subject.store);
    const next = (before: string | undefined) => String(Number(before) + 1);
    await Promise.all(Array.from({ length: 150 }, () => memory.advance(a.platform, a.node, next)));
    expect(await subject.store.nodeState(a)).toBe('150');
  });
}

function tokenTests(subject: Subject): void {
  const token = { platform: 'oidc/one', id: 'jti' };
  const [key, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const replayed = refusal('jti_replay', /^token jti of oidc\/one was used with another key$/);

  test('a token is bound to its first key, until a day after its end', async () => {
    await subject.store.bind(token, key, after(60));
    await subject.store.bind(token, key, after(60));
    await expect(subject.store.bind(token, other, after(60))).rejects.toThrow(replayed);
    await subject.store.bind({ ...token, platform: 'oidc/two' }, other, after(60));
    await subject.restart();
    await subject.store.prune(after(60));
    await expect(subject.store.bind(token, other, after(60))).rejects.toThrow(replayed);
    subject.clock.advanceTo(after(86_460));
    await subject.store.prune(after(60));
    await expect(subject.store.bind(token, other, after(60))).rejects.toThrow(replayed);
    subject.clock.advanceTo(after(86_461));
    await subject.store.prune(after(60));
    await subject.store.bind(token, other, after(86_500));
  });

  test('I319 a token is not forgotten in the first hour of a CA whose clock is ahead', async () => {
    await subject.store.bind(token, key, after(60));
    subject.clock.jump(after(365 * 86_400));
    await subject.store.prune(new Date(0));
    await expect(subject.store.bind(token, other, after(60))).rejects.toThrow(replayed);
  });

  test('I207 a token is not forgotten to a clock that leapt ahead', async () => {
    await subject.store.bind(token, key, after(60));
    subject.clock.jump(after(365 * 86_400));
    await subject.store.prune(after(-30 * 86_400));
    await expect(subject.store.bind(token, other, after(60))).rejects.toThrow(replayed);
  });
}
