/** The status of an agent that has joined. */
import { readStatus as read } from '@chancery/agent/workload/attach.ts';
import type { StatusReport } from '@chancery/agent/workload/local-messages.ts';

type Joined = { [K in keyof StatusReport]: K extends 'serial' | 'spiffeId' ? string : StatusReport[K] };

/** Throws where no agent answers, or where it has not joined. */
export async function readStatus(socket: string): Promise<Joined> {
  const status = await read(socket);
  const { serial, spiffeId } = status;
  if (serial === null || spiffeId === null) throw new Error(status.problems.join('; '));
  return { ...status, serial, spiffeId };
}
