/** What the metrics show of the files that wait for offline roots. */
import { Gauge, type Registry } from 'prom-client';

/** What of a request the metrics show. */
export interface OpenRequest {
  readonly kind: string;
  readonly root: string;
  readonly holds: string;
  readonly madeAt: Date;
  readonly until: Date | undefined;
}

/** Asks `requests` at each scrape. */
export function addRequestGauge(
  { requests, now }: { readonly requests: () => readonly OpenRequest[]; readonly now: () => Date },
  registers: Registry[],
): void {
  new Gauge({
    name: 'chancery_authority_request_seconds',
    help:
      'Only while an offline root is asked for an intermediate, for its word for a new root (voucher) or for its ' +
      'revocation list (crl): seconds since it was asked (age), and until nothing can be issued, or no list is ' +
      'valid, without the answer (left); a rotation waits without an end.',
    labelNames: ['request', 'root', 'what'],
    registers,
    collect() {
      this.reset();
      const at = now().getTime();
      for (const { kind: request, root, holds, madeAt, until } of requests()) {
        this.set({ request, root, what: 'age' }, (at - madeAt.getTime()) / 1000);
        if (holds !== 'rotation') {
          const end = until?.getTime() ?? at;
          this.set({ request, root, what: 'left' }, (end - at) / 1000);
        }
      }
    },
  });
}
