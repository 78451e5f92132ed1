/** T37: event logs that do not explain the PCRs, or would rather be believed than read. */

import type { TpmOpening } from '@chancery/shared/evidence/tpm.ts';
import { concat, utf8 } from '@chancery/shared/ground/bytes.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  EV,
  event,
  extended,
  header,
  le16,
  le32,
  startup,
  type TestEvent,
  writeEvent,
  writeEventLog,
} from '../../kit/tpm/event-log.ts';
import { type FakeTpm, makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import { attestFake, attestorTrusting, type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

/** A short boot: the loader's digest is not that of its data, which is a comment. */
const BOOT: readonly TestEvent[] = [
  startup(3),
  event(0, 8, 'firmware 1.2'),
  { ...event(4, EV.ipl, 'loader'), data: utf8('the path of the loader') },
  event(5, EV.gpt, 'partitions'),
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => event(pcr, EV.separator, '\0\0\0\0')),
];
const QUOTED = extended(BOOT, 3);

const withLog =
  (eventLog: Uint8Array) =>
  (opening: TpmOpening): TpmOpening => ({ ...opening, eventLog });

function attestWith(eventLog: Uint8Array, pcrs = QUOTED, config = {}) {
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config });
  return attestFake(attestor, tpm, { opening: withLog(eventLog), pcrs });
}

test('the genuine log explains the PCRs, required or not', async () => {
  await attestWith(writeEventLog(BOOT));
  await attestWith(writeEventLog(BOOT), QUOTED, { eventLog: 'required' });
});

test('a log without events explains PCRs that hold their initial values', async () => {
  await attestWith(writeEventLog([]), extended([]));
});

test('registers of dynamic launch begin with all bits set', async () => {
  const pcrs = Array.from({ length: 24 }, (_, i) => new Uint8Array(32).fill(i >= 17 && i <= 22 ? 0xff : 0));
  const allowed = { 15: ['00'.repeat(32)], 17: ['ff'.repeat(32)], 22: ['ff'.repeat(32)] };
  await attestWith(writeEventLog([]), pcrs, { pcrs: allowed });
});

const swap = (events: readonly TestEvent[], at: number, change: Partial<TestEvent>): TestEvent[] =>
  events.map((each, i) => (i === at ? { ...each, ...change } : each));
const without = (at: number): TestEvent[] => BOOT.filter((_, i) => i !== at);

interface Row {
  readonly name: string;
  readonly log: Uint8Array;
  readonly says: RegExp;
}

const events = (name: string, spoiled: readonly TestEvent[], says: RegExp): Row => ({
  name,
  log: writeEventLog(spoiled),
  says,
});
const digests = (...list: readonly Uint8Array[]): Uint8Array => concat(le32(list.length), ...list);
const sha256 = concat(le16(0x0b), new Uint8Array(32));
const rawEvent = (digest: Uint8Array): Uint8Array => concat(header(), le32(0), le32(EV.ipl), digest, le32(0));

const rows: Row[] = [
  events('missing events of one PCR', without(2), /^the log makes PCR 4 /),
  events('an extra event', [...BOOT, event(7, EV.ipl, 'more')], /^the log makes PCR 7 /),
  events('events in another order', [...BOOT.slice(0, 1), ...BOOT.slice(1).reverse()], /^the log makes PCR /),
  events('an event turned into information', swap(BOOT, 3, { type: EV.noAction }), /^the log makes PCR 5 /),
  events('the startup locality left out', without(0), /^the log makes PCR 0 /),
  events('another startup locality', swap(BOOT, 0, startup(0)), /^the log makes PCR 0 /),
  events('a startup locality that there is not', swap(BOOT, 0, startup(2)), /no startup locality 2/),
  events(
    'a startup locality without its number',
    swap(BOOT, 0, { data: utf8('StartupLocality\0') }),
    /no startup locality undefined/,
  ),
  events('a startup locality after PCR 0 has begun', [...BOOT, startup(3)], /after PCR 0 has begun/),
  events(
    'a digest that its data does not have',
    swap(BOOT, 3, { digest: new Uint8Array(32) }),
    /^the log makes PCR 5 /,
  ),
  { name: 'cut within an event', log: writeEventLog(BOOT).subarray(0, -1), says: /event ends early/ },
  {
    name: 'an event longer than the log',
    log: concat(header(), le32(0), le32(EV.ipl), digests(sha256), le32(0xffff_ffff)),
    says: /event ends early/,
  },
  {
    name: 'digests without end',
    log: concat(header(), le32(0), le32(EV.ipl), le32(0xffff_ffff)),
    says: /algorithm of a digest ends early/,
  },
  {
    name: 'algorithms without end',
    log: header(Array.from({ length: 70 }, (_, i) => [i + 256, 1] as const)),
    says: /has no SHA-256 digests/,
  },
  {
    name: 'two SHA-256 digests',
    log: rawEvent(digests(sha256, sha256)),
    says: /an event has two SHA-256 digests/,
  },
  {
    name: 'no SHA-256 digest',
    log: rawEvent(digests(concat(le16(4), new Uint8Array(20)))),
    says: /an event has no SHA-256 digest/,
  },
  {
    name: 'an algorithm that the header does not have',
    log: rawEvent(digests(concat(le16(0x0c), new Uint8Array(48)))),
    says: /algorithm c is not in the log's header/,
  },
  { name: 'a SHA-256 of 20 bytes', log: header([[0x0b, 20]]), says: /has no SHA-256 digests/ },
  {
    name: 'a SHA-1 log',
    log: concat(le32(0), le32(8), new Uint8Array(20), le32(0)),
    says: /begins with an event of type 8/,
  },
  {
    name: 'another signature',
    log: concat(le32(0), le32(EV.noAction), new Uint8Array(20), le32(16), utf8('Spec ID Event02\0')),
    says: /not in the crypto-agile format/,
  },
  { name: 'a header cut short', log: header().subarray(0, 40), says: /ends early/ },
];

describe('T37 refuses', () => {
  test.each(rows)('T37 $name', async ({ log, says }) => {
    await expectRefusal(attestWith(log), { status: 'U', code: 'eventlog', says });
  });

  test('T37 no log where one is required', async () => {
    const attempt = attestWith(new Uint8Array(), QUOTED, { eventLog: 'required' });
    await expectRefusal(attempt, { status: 'U', code: 'eventlog', says: /an event log is required here/ });
  });
});

const size: Omit<Expected, 'says'> = { status: 'R', code: 'eventlog_size' };

test('T37 a hundred megabytes', async () => {
  const opening = (o: TpmOpening): TpmOpening => ({ ...o, eventLog: new Uint8Array(100 * 1024 * 1024) });
  const attempt = attestFake(attestorTrusting(tpm.manufacturer.rootPem), tpm, { opening });
  await expectRefusal(attempt, { ...size, says: /event log is 104857600 bytes, at most 1048576/ });
});

test('T37 events as many as fit', async () => {
  const one = writeEvent({ pcr: 0, type: EV.ipl, digest: new Uint8Array(32), data: new Uint8Array() });
  const many = concat(header(), ...Array.from({ length: 10_001 }, () => one));
  await expectRefusal(attestWith(many), { ...size, says: /has more than 10000 events/ });
});

test('T37 a log that is refused costs the TPM no question', async () => {
  const attestor = attestorTrusting(tpm.manufacturer.rootPem);
  let asked = false;
  const rawAnswer = (answer: Uint8Array): Uint8Array => {
    asked = true;
    return answer;
  };
  const attempt = attestFake(attestor, tpm, { opening: withLog(new Uint8Array(9)), rawAnswer });
  await expectRefusal(attempt, { status: 'U', code: 'eventlog', says: /an event of type 0/ });
  expect(asked).toBe(false);
});
