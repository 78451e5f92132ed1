import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['*/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/bench/**'],
    // Real TPMs, processes and databases on two busy cores: bounds are for what hangs, so that it ends with a name.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    setupFiles: ['test/kit/observe/wait-for.ts'],
    maxWorkers: 2,
  },
});
