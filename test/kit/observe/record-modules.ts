/** Loaded before a program (`node --import`): writes the address of every module that it loads, a line each. */
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

export const RECORD_MODULES = fileURLToPath(import.meta.url);

/** Without it nothing is recorded, so that a test may import this file for its path. */
const file = process.env['RECORD_MODULES_TO'];

if (file !== undefined)
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      appendFileSync(file, `${found.url}\n`);
      return found;
    },
  });
