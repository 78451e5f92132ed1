/** Hands back to the CA what it said before: one that was restored from a backup has forgotten what came after that. */
import type {
  HandBackRequest,
  HandBackResponse,
  Revoked,
  TrustClient,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa } from '../../svid/channel.ts';

/** The newest signed state of revocations that this agent has. */
export interface Held {
  readonly sequence: bigint;
  /** The signature of the log's key. */
  readonly note: string;
  readonly list: readonly Revoked[];
  /** The newest checkpoint of the audit log, or empty. */
  readonly checkpoint: string;
}

const CALL_MS = 10_000;

/**
 * Call it before the CA's state is taken: that of a restored CA takes the place of what this agent has. Throws
 * unavailable, refused_by_ca where the CA could not take it for now. What it refuses is logged, and so is what is too
 * large; an older CA takes nothing back. Whether the CA wanted and took it.
 */
export async function handBack(
  client: Pick<TrustClient, 'handBack'>,
  held: Held | undefined,
  log: Log,
): Promise<boolean> {
  if (held === undefined) return false;
  const { sequence, note, list, checkpoint } = held;
  const bare = { sequence, note, list: [], since: 0n, gone: [] };
  const first = await call(client, { revocations: bare, checkpoint }, log);
  if (first?.wantsRevocations !== true) return false;
  log.info({ sequence: Number(sequence) }, 'the CA was restored, and gets its newer revocations back');
  const taken = await call(client, { revocations: { ...bare, list: [...list] }, checkpoint }, log);
  return taken !== undefined;
}

/** May be true again in a moment. */
const FOR_NOW: ReadonlySet<grpc.status> = new Set([
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.CANCELLED,
]);

/** Undefined if the CA takes nothing back. */
function call(
  client: Pick<TrustClient, 'handBack'>,
  request: HandBackRequest,
  log: Log,
): Promise<HandBackResponse | undefined> {
  return new Promise((resolve, reject) => {
    const answer = (error: grpc.ServiceError | null, response: HandBackResponse): void => {
      if (error === null) resolve(response);
      else if (FOR_NOW.has(error.code)) reject(refusalFromCa(error));
      else {
        if (error.code !== grpc.status.UNIMPLEMENTED)
          log.warn({ err: refusalFromCa(error) }, 'the CA does not take back what it has said');
        resolve(undefined);
      }
    };
    client.handBack(request, new grpc.Metadata(), { deadline: Date.now() + CALL_MS }, answer);
  });
}
