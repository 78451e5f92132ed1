/** Serial numbers: chosen here, never by a caller. */
import { concat, u32 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** The first byte, from here to 0x7f, keeps serials positive and 20 bytes long. */
const FIRST = 0x40;
const LIVES = 0x40;
const RANDOM_BYTES = 16;
/** Ticks of a sixteenth of a second; 24 bits of them come round every twelve days. */
const TICK_MS = 62.5;
const TICKS = 2 ** 24;

/**
 * Life, time, then 128 random bits: RFC 5280 section 4.1.2.2, and no two ever meet. `life` is how often the CA was
 * restored from a backup: what it signed before and has no record of begins with another byte. The time says no more
 * than notBefore does; it puts neighbours in time beside each other in the store's index, so that an issuance does not
 * touch a random page of it.
 */
export function drawSerial(now: Date, random: (size: number) => Uint8Array, life: number): Uint8Array {
  const bits = random(RANDOM_BYTES);
  ensure(bits.length === RANDOM_BYTES, 'internal', 'the source of randomness gave too little');
  const tick = Math.floor(now.getTime() / TICK_MS) % TICKS;
  return concat(u32((FIRST + (life % LIVES)) * TICKS + tick), bits);
}
