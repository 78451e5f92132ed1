/** What attestors stand on, without a network: one time, one trust domain, answers that a target gives. */
import type { AttestorDeps } from '@chancery/ca/attestors/attestor.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Outbound, OutboundReply, OutboundRequest } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { recorded } from '../recorded.ts';

export const BINDING = new Uint8Array(32).fill(7);

export const answering = (
  body: (request: OutboundRequest) => Uint8Array,
  reply: Partial<OutboundReply> = {},
): Outbound => ({
  request: async (request) => ({
    status: 200,
    contentType: 'application/json',
    body: body(request),
    ...reply,
  }),
  close: () => {},
});

const nothing = new Uint8Array();

/** Files are what record.ts has recorded. Nothing is remembered: every token is the first. */
export const attestorDeps = (now: Date, outbound: Outbound = answering(() => nothing)): AttestorDeps => ({
  trustDomain: parseTrustDomain('prod.example'),
  clock: { now: () => now, sleepUntil: async () => {} },
  log: silentLog,
  outbound,
  readFile: recorded,
  memory: { advance: async (_platform, _node, next) => void next(undefined), bind: async () => {} },
});
