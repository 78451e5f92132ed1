/** Verifies that an event log gives the PCR values that a TPM quoted. */
import { hash } from 'node:crypto';
import { asBuffer, concat, equal, hex } from '../../ground/bytes.ts';
import { ensure } from '../../ground/errors.ts';
import { type LogEvent, NO_ACTION } from './event-log.ts';
import { PCR_BYTES } from './pcr.ts';

const STARTUP_LOCALITY = Buffer.from('StartupLocality\0', 'latin1');
/** TPM2_Startup comes from locality 0 or 3; 4 means that a hardware root of trust (H-CRTM) started before it. */
const LOCALITIES: readonly number[] = [0, 3, 4];

/**
 * Each quoted PCR must have the value that all of its events give, or its initial value if it has none. The digests are
 * what the TPM has extended. The data beside them is used for the startup locality only: real firmware writes data that
 * does not match its digest. Throws eventlog.
 */
export function verifyEventLog(events: readonly LogEvent[], quoted: ReadonlyMap<number, Uint8Array>): void {
  const replayed = replay(events);
  for (const [index, value] of quoted) {
    const outcome = replayed.get(index) ?? initialValue(index);
    ensure(
      equal(outcome, value),
      'eventlog',
      `the log makes PCR ${index} ${hex(outcome)}, it is ${hex(value)}`,
    );
  }
}

function replay(events: readonly LogEvent[]): ReadonlyMap<number, Uint8Array> {
  const values = new Map<number, Uint8Array>();
  for (const event of events) {
    if (event.type === NO_ACTION) {
      if (asBuffer(event.data).subarray(0, STARTUP_LOCALITY.length).equals(STARTUP_LOCALITY))
        start(values, event);
      continue;
    }
    const before = values.get(event.pcr) ?? initialValue(event.pcr);
    values.set(event.pcr, hash('sha256', concat(before, event.digest), 'buffer'));
  }
  return values;
}

/** Section 10.4.5.3: PCR 0 starts at the locality that TPM2_Startup came from. */
function start(values: Map<number, Uint8Array>, { data }: LogEvent): void {
  ensure(!values.has(0), 'eventlog', 'the startup locality comes after PCR 0 has begun');
  const locality = data[STARTUP_LOCALITY.length];
  const known = locality !== undefined && LOCALITIES.includes(locality);
  ensure(known, 'eventlog', `there is no startup locality ${locality}`);
  const value = new Uint8Array(PCR_BYTES);
  value[PCR_BYTES - 1] = locality;
  values.set(0, value);
}

/** PC Client Platform TPM Profile, section 4.6.2: PCRs 17 to 22, for a dynamic launch, start as all ones. */
function initialValue(index: number): Uint8Array {
  return new Uint8Array(PCR_BYTES).fill(index >= 17 && index <= 22 ? 0xff : 0);
}
