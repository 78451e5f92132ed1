/** Calls of tools. */
import { callOf } from '@chancery/shared/mcp/tools.ts';
import type { Reader } from './reader.ts';

/** A call, decided by the tool's name and the arguments. */
export const readCall: Reader = (request, { era }) => {
  const { tool: name, arguments: given, isTask, forwarded } = callOf(request, era === 'legacy');
  return { use: { kind: 'tool', name, arguments: given }, makesTask: isTask, forwarded };
};
