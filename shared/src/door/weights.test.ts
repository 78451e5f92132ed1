import { describe, expect, test, vi } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import type { ShareKeys } from './keys.ts';
import { Weights } from './weights.ts';

const SETTINGS = { total: 100, perConnection: 20, perAddress: 40, perNetwork: 60 };
const from = (address: string, network?: string): ShareKeys =>
  network === undefined ? { address } : { address, network };
const ONE = {};
const never = (): void => expect.unreachable();

describe('bytes of unfinished messages', () => {
  test.each<[string, number, (n: number) => ShareKeys, object | undefined]>([
    ['one connection', 20, () => from('a'), ONE],
    ['one address', 40, () => from('a'), undefined],
    ['one network', 60, (n: number) => from(`a${n}`, 'n'), undefined],
  ])('of %s have a share', (_, share, keys, connection) => {
    const weights = new Weights(SETTINGS);
    for (let n = 0; n < share / 10; n += 1) weights.open(keys(n), connection ?? {}, never).add(10);
    const last = weights.open(keys(99), connection ?? {}, never);
    expect(() => last.add(1)).toThrow(refusal('rate', /take too many bytes$/));
    expect(weights.total).toBe(share);
  });

  test('are free when the message is whole', () => {
    const weights = new Weights(SETTINGS);
    const message = weights.open({ address: 'a' }, ONE, never);
    for (let n = 0; n < 10; n += 1) {
      message.add(20);
      message.free();
    }
    expect(weights.total).toBe(0);
  });

  test('of the address that has most give way, the oldest message first', () => {
    const weights = new Weights(SETTINGS);
    const [older, newer, other] = [vi.fn(), vi.fn(), vi.fn()];
    weights.open({ address: 'small' }, {}, other).add(20);
    weights.open({ address: 'large' }, {}, older).add(20);
    weights.open({ address: 'large' }, {}, newer).add(20);
    weights.open({ address: 'b' }, {}, other).add(20);
    weights.open({ address: 'c' }, {}, other).add(20);
    weights.open({ address: 'd' }, {}, other).add(5);
    expect(older).toHaveBeenCalledOnce();
    expect(newer).not.toHaveBeenCalled();
    expect(other).not.toHaveBeenCalled();
    expect(weights.total).toBe(85);
  });

  test('do not give way to the same message: it is refused, and keeps what it has', () => {
    const weights = new Weights({ total: 100, perConnection: 200, perAddress: 200, perNetwork: 200 });
    const lose = vi.fn();
    const message = weights.open({ address: 'a' }, ONE, lose);
    message.add(90);
    expect(() => message.add(20)).toThrow(refusal('rate', /^the unfinished messages take too many bytes$/));
    expect(lose).not.toHaveBeenCalled();
    expect(weights.total).toBe(90);
  });
});
