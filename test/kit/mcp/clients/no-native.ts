/** Loaded before a program (`node --import`): it runs as if koffi were not installed, and no native module loads. */
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

export const NO_NATIVE = fileURLToPath(import.meta.url);

/** Without it nothing changes, so that a test may import this file for its path. */
if (process.env['CHY_TEST_NO_NATIVE'] === 'yes') {
  registerHooks({
    resolve(specifier, context, next) {
      if (/^koffi($|\/)/.test(specifier))
        throw Object.assign(new Error('Cannot find koffi'), { code: 'MODULE_NOT_FOUND' });
      return next(specifier, context);
    },
  });
  process.dlopen = () => {
    throw new Error('this test has no native modules');
  };
}
