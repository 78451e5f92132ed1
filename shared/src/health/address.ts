/** Where health and metrics are served, as configs write it. */
import { z } from 'zod';
import { form, forms, hostPort } from '../config/schema.ts';

export interface HealthAddress {
  readonly listen: string;
  /** No metrics, so that any address will do. */
  readonly healthOnly: boolean;
}

const LOOPBACK = /^(127(\.[0-9]{1,3}){3}|\[::1\]|localhost):[0-9]+$/;

/** `host:port` on loopback, or `{ listen, healthOnly: true }` anywhere, for the probes of a kubelet. */
export const healthAddress = z
  .union(
    [
      hostPort.transform((listen): HealthAddress => ({ listen, healthOnly: false })),
      form({
        listen: hostPort.describe('Where.'),
        healthOnly: z.boolean().default(false).describe('Serves no metrics; needed beyond loopback.'),
      }),
    ],
    { error: forms('host:port, for instance 127.0.0.1:9464, or a map with listen and healthOnly') },
  )
  .refine(
    ({ listen, healthOnly }) => healthOnly || LOOPBACK.test(listen),
    'health and metrics are plain HTTP: loopback only; beyond it write { listen: HOST:PORT, healthOnly: true }',
  );
