/** A part of a fleet, in a process of its own, as `members.ts` tells it by messages. */
import { startIssuer } from '../../oidc/issuer.ts';
import { type Fleet, startFleet } from './fleet.ts';
import type { FromMember, ToMember } from './members.ts';

const hub = await startIssuer({ now: () => new Date() });
let fleet: Fleet | undefined;
const say = (message: FromMember): void => void process.send?.(message);
const fail = (error: unknown): void => say({ kind: 'failed', why: String(error) });

// V8 does not know what TLS contexts cost: without this, ten thousand agents need 23 GB, most of it garbage.
setInterval(() => globalThis.gc?.(), 20_000);
process.on('message', (message: ToMember) => void answer(message).catch(fail));
say({ kind: 'issuer', url: hub.url });

async function answer(message: ToMember): Promise<void> {
  if (message.kind === 'join') {
    fleet = await startFleet({ ...message, hub });
    say({ kind: 'joined' });
  } else if (message.kind === 'count') say({ kind: 'counted', failures: fleet?.failures ?? [] });
  else {
    await fleet?.close();
    await hub.close();
    process.exit(0);
  }
}
