#!/usr/bin/env -S node --disable-sigusr1
/** chancery-agent: gives the program the arguments, streams and signals of the process, and ends it. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { endWith, processIo } from '@chancery/shared/cli/process-io.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { jsonLog } from '@chancery/shared/ground/log.ts';
import { signalProcess } from '@chancery/shared/unix/pidfd.ts';
import { agentProgram } from './cli/program.ts';
import { stableSelf } from './cli/self.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const program = agentProgram(
  {
    clock: systemClock,
    random: () => Math.random(),
    randomBytes: (size) => randomBytes(size),
    ownUid: process.getuid?.() ?? -1,
    platform: process.platform,
    ownPid: process.pid,
    signalProcess,
    logAt: (level) => jsonLog(level, 'chancery-agent'),
    version,
    self: () => stableSelf(process.execPath, fileURLToPath(import.meta.url), process.env['PATH']),
    stdio: () => ({ input: process.stdin, output: process.stdout }),
  },
  version,
);
endWith(await runProgram(program, process.argv.slice(2), processIo()));
