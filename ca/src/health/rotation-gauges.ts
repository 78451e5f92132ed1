/** Metrics of the rotations of the root and of the JWT signing key. */
import { Gauge, type Registry } from 'prom-client';
import type { AuthorityInUse } from '../authority/authorities.ts';

/** How a rotation stands. */
interface RotationGlance {
  readonly stage: string;
  readonly stragglers: number;
  readonly certificates: number;
}

export interface RotationSources {
  readonly authorities: () => readonly AuthorityInUse[];
  /** Rejects where the store does not answer: then these metrics are left out. */
  readonly rotation: () => Promise<RotationGlance>;
  /** The same of the JWT signing key. */
  readonly jwtRotation: () => Promise<RotationGlance>;
}

const STAGES = ['idle', 'prepared', 'published', 'retiring'];

/** Registers the metrics of both rotations. */
export function addRotationGauges(sources: RotationSources, registers: Registry[]): void {
  const { authorities, rotation, jwtRotation } = sources;
  const glances = async (): Promise<readonly (readonly [string, RotationGlance])[]> => {
    const found = await Promise.allSettled([rotation(), jwtRotation()]);
    return found.flatMap((each, n) =>
      each.status === 'fulfilled' ? [[n === 0 ? 'root' : 'jwt', each.value] as const] : [],
    );
  };
  new Gauge({
    name: 'chancery_root_state',
    help: '1 for the state of each root in the bundle; that of one that stands by is standby.',
    labelNames: ['serial', 'state'],
    registers,
    collect() {
      this.reset();
      for (const { kind, serial, state } of authorities())
        if (kind === 'root') this.set({ serial, state }, 1);
    },
  });
  new Gauge({
    name: 'chancery_rotation_stage',
    help:
      '1 for the stage of the rotation of the root or of the JWT key (idle, prepared, published or retiring), ' +
      '0 for the others.',
    labelNames: ['kind', 'stage'],
    registers,
    async collect() {
      const seen = await glances();
      this.reset();
      for (const [kind, glance] of seen)
        for (const stage of STAGES) this.set({ kind, stage }, stage === glance.stage ? 1 : 0);
    },
  });
  new Gauge({
    name: 'chancery_rotation_waits_for',
    help:
      'What the next step of the rotation waits for: connected agents, and unexpired certificates; ' +
      'counted at most every 30 s.',
    labelNames: ['kind', 'what'],
    registers,
    async collect() {
      const seen = await glances();
      this.reset();
      for (const [kind, { stragglers, certificates }] of seen) {
        this.set({ kind, what: 'agents' }, stragglers);
        if (kind === 'root') this.set({ kind, what: 'certificates' }, certificates);
      }
    },
  });
}

/** Registers the metric of what a CA above has certified. */
export function addCrossGauge(
  sources: Pick<RotationSources, 'authorities'> & { readonly now: () => Date },
  registers: Registry[],
): void {
  new Gauge({
    name: 'chancery_cross_certificate_expiry_seconds',
    help:
      'Only of roots that a CA above has certified: seconds until the first certificate of that chain expires; 0 for ' +
      'the root that signs where it has none and another root had one.',
    labelNames: ['serial'],
    registers,
    collect() {
      this.reset();
      for (const { serial, crossUntil } of sources.authorities())
        if (crossUntil !== undefined)
          this.set({ serial }, (crossUntil.getTime() - sources.now().getTime()) / 1000);
    },
  });
}
