/** Serial numbers: chosen here, never by a caller. */
import { concat } from '@chancery/shared/bytes.ts';
import { ensure } from '@chancery/shared/errors.ts';

/** Keeps serials positive and 17 bytes long, and will tell replicas apart when there are several. */
const REPLICA_PREFIX = Uint8Array.of(0x40);
const RANDOM_BYTES = 16;

/** 128 random bits behind the replica's prefix: RFC 5280 section 4.1.2.2, and no two ever meet. */
export function drawSerial(random: (size: number) => Uint8Array): Uint8Array {
  const bits = random(RANDOM_BYTES);
  ensure(bits.length === RANDOM_BYTES, 'internal', 'the source of randomness gave too little');
  return concat(REPLICA_PREFIX, bits);
}
