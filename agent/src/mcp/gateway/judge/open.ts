/**
 * Messages that every caller that may reach the server may send: no tool can be called without them. Their answers are
 * filtered.
 */
import { levelOf } from '@chancery/shared/mcp/logging.ts';
import type { Reader } from './reader.ts';

/** Notifications about the caller's own requests. */
export const OPEN_NOTIFICATIONS: ReadonlySet<string> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]);

/** A request that says nothing to decide about. */
export const readOpen: Reader = (request) => ({ use: undefined, forwarded: request });

/** Legacy only: in the modern era each request says its log level (2026-07-28, "Logging"). */
export const readSetLevel: Reader = (request, { era, freeText }) =>
  era === 'legacy' && freeText.logs
    ? {
        use: { kind: 'logging', name: levelOf(request), arguments: {} },
        forwarded: request,
      }
    : undefined;
