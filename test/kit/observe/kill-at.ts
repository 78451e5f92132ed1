/** Preloaded into a process: ends it as a power cut would, after as many changes of the disk as KILL_AT says. */
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

Object.assign(fs, {
  mkdirSync: counted(fs.mkdirSync),
  renameSync: counted(fs.renameSync),
});
syncBuiltinESMExports();
DatabaseSync.prototype.exec = counted(DatabaseSync.prototype.exec);
