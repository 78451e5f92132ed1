import { hex } from '@chancery/shared/ground/bytes.ts';
import { describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { drawSerial } from './serial.ts';

describe('serial numbers', () => {
  const bits = (byte: number) => (size: number) => Buffer.alloc(size, byte);

  test('are 20 positive bytes of which 16 are random', () => {
    for (const byte of [0, 0xff]) {
      const serial = drawSerial(NOW, bits(byte), 0);
      expect(serial).toHaveLength(20);
      expect(serial[0]).toBe(0x40);
      expect(Buffer.from(serial.subarray(4))).toEqual(Buffer.alloc(16, byte));
    }
  });

  test('go up with time', () => {
    const earlier = hex(drawSerial(NOW, bits(0xff), 0));
    expect(hex(drawSerial(after(0.1), bits(0), 0)) > earlier).toBe(true);
  });

  test('are refused from a source that gives too little', () => {
    expect(() => drawSerial(NOW, () => Buffer.alloc(15), 0)).toThrow(refusal('internal', /gave too little/));
  });
});
