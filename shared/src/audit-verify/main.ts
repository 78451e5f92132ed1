#!/usr/bin/env node
/** chancery-audit-verify: gives the command the arguments, streams and signals of the process, and ends it. */
import { readFileSync } from 'node:fs';
import { endWith, processIo } from '../cli/process-io.ts';
import { runSingle } from '../cli/program.ts';
import { verifyCommand } from './command.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const program = { name: 'chancery-audit-verify', version, command: verifyCommand };
endWith(await runSingle(program, process.argv.slice(2), processIo()));
