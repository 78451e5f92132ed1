/** A part of the fleet of bench `revocation`, in a process of its own, as `groups.ts` tells it by messages. */
import { createPrivateKey } from 'node:crypto';
import type { TrustState } from '@chancery/agent/trust/state/trust-state.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { connect, type Parts } from './fleet.ts';
import type { FromMember, ToMember } from './groups.ts';

const parts: Parts = [];
const fleet: TrustState[] = [];
const say = (message: FromMember): void => void process.send?.(message);

process.on('message', (message: ToMember) => {
  void answer(message).catch((error: unknown) => say({ kind: 'failed', why: String(error) }));
});

async function answer(message: ToMember): Promise<void> {
  if (message.kind === 'connect') {
    const agents = message.agents.map(({ svid, instance, pkcs8 }) => ({
      svid: { ...svid, key: createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }) },
      instance,
    }));
    fleet.push(...(await connect(message.served, agents, parts)));
    say({ kind: 'connected' });
    return;
  }
  const id = parseSpiffeId(message.id);
  const isRevoked = ({ revocations }: TrustState): boolean =>
    revocations.current().revoked({ id }, systemClock.now()) !== undefined;
  const reached = Promise.all(
    fleet.map((told) => until(told, () => isRevoked(told) === (message.kind === 'revoked'))),
  );
  say({ kind: 'waiting' });
  say({ kind: 'reached', at: await reached });
}

/** Resolves with the nanoseconds of the monotonic clock, which all processes of a machine share. */
function until({ revocations }: TrustState, holds: () => boolean): Promise<bigint> {
  return new Promise((resolve) => {
    const stop = revocations.onChange(() => {
      if (!holds()) return;
      stop();
      resolve(process.hrtime.bigint());
    });
  });
}
