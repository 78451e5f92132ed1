/** What the metrics of the CA show, asked of its rooms at each scrape. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { partsInForce } from './agents/acknowledged.ts';
import type { Agents } from './agents/agents.ts';
import { behindByPart } from './agents/holders.ts';
import type { Authorities } from './authority/authorities.ts';
import type { Crls } from './crl/crls.ts';
import type { Doors } from './door/doors.ts';
import type { Limits } from './door/limits.ts';
import type { ReportRoom } from './door/report-room.ts';
import { createMetrics, type MetricSources, type Metrics } from './health/metrics.ts';
import type { Rotations } from './jwt/rotations.ts';
import type { GrowingLog } from './log/sequencer.ts';
import type { Recovery } from './recovery/recovery.ts';
import type { Registry } from './registry/registry.ts';
import type { Revocations } from './revocation/revocations.ts';
import type { FirstHour } from './store/clock-warning.ts';
import type { Store } from './store/store.ts';

export interface Measured {
  readonly agents: Agents;
  readonly authorities: Authorities;
  readonly registry: Registry;
  readonly revocations: Revocations;
  readonly recovery: Pick<Recovery, 'whyHeld'>;
  readonly rotation: Pick<Rotations, 'glance' | 'jwt'>;
  readonly requests: { readonly known: MetricSources['requests'] };
  readonly limits: Limits;
  readonly reportRoom: ReportRoom;
  readonly doors: Doors;
  readonly auditLog: Pick<GrowingLog, 'isFailing'> & {
    readonly uncopiedSeconds: MetricSources['uncopiedSeconds'];
    readonly isCopyFailing: MetricSources['isCopyFailing'];
    readonly pruned: MetricSources['prunedEntries'];
    readonly nextPruningAt: MetricSources['nextPruningAt'];
  };
  readonly lists: Crls['lists'];
  readonly firstHour: Pick<FirstHour, 'gapSeconds'>;
  readonly clock: Clock;
  readonly store: Store;
  readonly log: Log;
}

/** Needs no closing. */
export function openMetrics(rooms: Measured): Metrics {
  const { agents, authorities, revocations, limits, doors, lists, clock, store, log } = rooms;
  const metrics = createMetrics({
    authorities: () => authorities.inUse(),
    rotation: () => rooms.rotation.glance(),
    jwtRotation: () => rooms.rotation.jwt.glance(),
    requests: () => rooms.requests.known(),
    connectedAgents: () => agents.size,
    unacknowledgedAgents: () => behindByPart(agents, partsInForce(rooms)),
    freeBytes: () => rooms.reportRoom.free(),
    heldReports: () => rooms.reportRoom.held,
    openExchanges: () => limits.open,
    storeWaitSeconds: () => store.waitedSeconds(),
    openConnections: () => ({ ...doors.tls.open, local: doors.join.open.strangers }),
    revocations: () => revocations.standing().length,
    revocationLists: () => (lists.has() ? lists.current() : []),
    isLogFailing: () => rooms.auditLog.isFailing(),
    uncopiedSeconds: () => rooms.auditLog.uncopiedSeconds(),
    isCopyFailing: () => rooms.auditLog.isCopyFailing(),
    prunedEntries: () => rooms.auditLog.pruned(),
    nextPruningAt: () => rooms.auditLog.nextPruningAt(),
    startGapSeconds: () => rooms.firstHour.gapSeconds(),
    isHeld: () => rooms.recovery.whyHeld() !== undefined,
    now: () => clock.now(),
  });
  store.onEventsLost((error, events) => {
    metrics.eventsLost(events);
    log.error({ err: error, events }, 'audit events of how an issuing ended could not be written');
  });
  return metrics;
}
