/**
 * Preloaded into a process: ends it as a power cut would, after as many changes of the disk as KILL_AT says. KILL_ON
 * has the functions of node:fs that count, instead of the usual ones and changes of a database.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

let left = Number(process.env['KILL_AT']);

/** The same function, and the end of the process after the last call that may be made. */
function counted<Args extends unknown[], Result>(run: (this: unknown, ...args: Args) => Result) {
  return function (this: unknown, ...args: Args): Result {
    const result = run.apply(this, args);
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
    return result;
  };
}

const given = process.env['KILL_ON'];
const names = (given ?? 'mkdirSync,renameSync').split(',') as ('mkdirSync' | 'renameSync')[];
for (const name of names) Object.assign(fs, { [name]: counted(fs[name] as (...args: unknown[]) => unknown) });
syncBuiltinESMExports();
if (given === undefined) DatabaseSync.prototype.exec = counted(DatabaseSync.prototype.exec);
