#!/usr/bin/env -S node --disable-sigusr1
/** chancery-ca: gives the program the arguments, streams and signals of the process, and ends it. */
import { readFileSync } from 'node:fs';
import { endWith, processIo } from '@chancery/shared/cli/process-io.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { jsonLog } from '@chancery/shared/ground/log.ts';
import { pooledRandom } from '@chancery/shared/ground/random.ts';
import { caProgram } from './cli/program.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const program = caProgram(
  {
    clock: systemClock,
    random: pooledRandom(),
    ownUid: process.getuid?.() ?? -1,
    logAt: (level) => jsonLog(level, 'chancery-ca'),
  },
  version,
);
endWith(await runProgram(program, process.argv.slice(2), processIo()));
