/**
 * Run before each test file: `vi.waitFor` waits for a minute unless it is told otherwise. Its own second is too short
 * for a disk or a process on a busy machine. A condition that holds is seen at once either way.
 */
import { vi } from 'vitest';

const PATIENCE_MS = 60_000;

const { waitFor } = vi;
vi.waitFor = (condition, options) =>
  waitFor(condition, {
    timeout: PATIENCE_MS,
    ...(typeof options === 'number' ? { timeout: options } : options),
  });
