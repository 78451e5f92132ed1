/** A genuine machine's event log, whose EV_S_CRTM_VERSION has data that its digest is not of. */
import fs from 'node:fs';
import { join } from 'node:path';
import { readEventLog } from '@chancery/shared/tpm/boot/event-log.ts';
import { verifyEventLog } from '@chancery/shared/tpm/boot/replay.ts';
import { expect, test } from 'vitest';
import { refusal } from '../kit/refusal.ts';
import { vectorsOrSkip } from './vectors.ts';

const SOURCE = { folder: 'tpm-real', from: 'the test data of https://github.com/google/go-tpm-tools' };
const PCR_0 = 'dab77c454bd12c27ff6b6ce1f9adca90b7a330c1cef0b5cd01cb89fb3bd0dffa';

test('the digests of a genuine log give the PCR that its machine quoted', (context) => {
  const events = readEventLog(fs.readFileSync(join(vectorsOrSkip(SOURCE, context), 'gdc-host.bin')));
  const quoted = (value: string) => new Map([[0, new Uint8Array(Buffer.from(value, 'hex'))]]);
  verifyEventLog(events, quoted(PCR_0));
  const wrong = quoted(PCR_0.replace(/^da/, 'db'));
  expect(() => verifyEventLog(events, wrong)).toThrow(refusal('eventlog', /the log makes PCR 0 dab7/));
});
