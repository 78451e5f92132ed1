/** A trust domain in memory, and gateways and connects in it, for tests of the MCP rooms. */
import type { ServerOptions } from '@chancery/agent/mcp/behind.ts';
import type { CallEvent, RecordCall } from '@chancery/agent/mcp/call-event.ts';
import { type ConnectOptions, startConnect } from '@chancery/agent/mcp/connect.ts';
import type { HeldLimits } from '@chancery/agent/mcp/gateway/exchange/gate.ts';
import { type Gateway, type GatewayOptions, startGateway } from '@chancery/agent/mcp/gateway.ts';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import type { ConnectionSettings } from '@chancery/shared/door/connections.ts';
import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { parseTarget, type Revocation } from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { attestedExtension } from '@chancery/shared/x509/attested.ts';
import { type Made, makeAuthority, makeLeaf } from '../../certificates.ts';
import { countsAlone } from './counts.ts';

const TD = parseTrustDomain('prod.example');
export const id = (path: string): SpiffeId => parseSpiffeId(`spiffe://prod.example/${path}`);
export const TRIAGE = id('agents/triage');
export const STRANGER = id('agents/stranger');
export const TOOLS = id('tools/everything');

/** OpenSSL checks dates by the machine's clock, so these certificates are of today. */
export class TrustDomainInMemory {
  readonly root: Made = makeAuthority('test root', undefined, { fields: around(86_400) });
  readonly bundle = live<Bundle>({
    trustDomain: TD,
    authorities: [this.root.certificate.der],
    sequence: 1n,
  });

  /** `attested` is what the certificate says besides. */
  svid(spiffeId: SpiffeId, seconds = 3600, attested?: Attested): Svid {
    const extensions = attested === undefined ? {} : { attested: attestedExtension(attested) };
    const { certificate, key } = makeLeaf(spiffeId, this.root, { fields: around(seconds), extensions });
    const { notBefore, notAfter } = certificate;
    return { id: spiffeId, chain: [certificate.der], key, notBefore, notAfter, renewAfter: notAfter };
  }
}

function around(seconds: number) {
  return { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + seconds * 1000) };
}

export function live<T>(first: T): LiveValue<T> {
  return new LiveValue(() => new IdentityError('unavailable', 'no value yet'), first);
}

/** A policy of one server at `port`; `tools` and what else it may do are Access's, for TRIAGE. */
export function policyFor(
  port: number,
  tools: object,
  version = 1n,
  who: readonly string[] = [TRIAGE],
  more: object = { logging: 'debug' },
): Policy {
  const server = { kind: 'McpServer', name: 'everything', identity: TOOLS, address: `127.0.0.1:${port}` };
  const access = { kind: 'Access', name: 'triage', who, servers: ['everything'], tools, ...more };
  return compilePolicy([McpServer.parse(server), Access.parse(access)], version);
}

/** What the CA would push after `chancery-ca revoke`. */
export const revoked = (kind: string, value: string, changes: Partial<Revocation> = {}): RevocationSet => {
  const target = parseTarget(kind, value);
  const made = { number: 1, target, serials: [], reason: 'keyCompromise', until: undefined } as const;
  return revocationSet([{ ...made, ...changes }], 1n);
};

export interface World {
  readonly td: TrustDomainInMemory;
  readonly gateway: Gateway;
  readonly gatewaySvid: LiveValue<Svid>;
  readonly policy: LiveValue<Policy>;
  readonly revocations: LiveValue<RevocationSet>;
  readonly events: CallEvent[];
  /** What the CA would tell: a newer certificate's serial, and the one that it replaced. */
  readonly links: Map<string, string>;
  /** Tells the gateway of it, after claims that came too early. */
  tellLinks(): void;
  close(): Promise<void>;
}

export interface WorldOptions extends HeldLimits {
  /** Access's, for `who`. */
  readonly tools?: object;
  /** Access's other blocks: `resources`, `prompts`, `completion`, `logging`. By default all log messages pass. */
  readonly rules?: object;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly freeText?: FreeText;
  readonly connections?: Partial<ConnectionSettings>;
  readonly sessions?: ServerOptions['sessions'];
  /** Servers behind the same gateway. No rule is about them until a test publishes one. */
  readonly others?: readonly ServerOptions[];
  readonly maxCallSeconds?: number;
  readonly maxRequestBytes?: number;
  readonly who?: readonly SpiffeId[];
  /** Instead of the world's own list. */
  readonly record?: RecordCall;
  /** Where two gateways are of one trust domain. */
  readonly td?: TrustDomainInMemory;
  /** What the gateway looks at instead of the world's own. */
  readonly revocations?: Source<RevocationSet>;
  /** By default of a gateway that shares with none. */
  readonly counts?: GatewayOptions['counts'];
  readonly ensureHeard?: GatewayOptions['ensureHeard'];
  readonly spans?: GatewayOptions['spans'];
}

export async function startWorld(
  upstream: UpstreamTarget,
  {
    tools = { allow: ['*'] },
    rules,
    clock = systemClock,
    log = silentLog,
    who = [TRIAGE],
    record,
    others = [],
    ...instead
  }: WorldOptions = {},
): Promise<World> {
  const { td = new TrustDomainInMemory() } = instead;
  const gatewaySvid = live(td.svid(TOOLS));
  const policy = live(policyFor(1, tools, 1n, who, rules));
  const revocations = live(revocationSet<Revocation>([], 0n));
  const events: CallEvent[] = [];
  const links = new Map<string, string>();
  const linked = live(0);
  const gateway = await startGateway({
    listen: { host: '127.0.0.1', port: 0 },
    servers: [
      {
        server: 'everything',
        upstream,
        maxCallSeconds: instead.maxCallSeconds,
        ...(instead.freeText === undefined ? {} : { freeText: instead.freeText }),
        ...(instead.sessions === undefined ? {} : { sessions: instead.sessions }),
      },
      ...others,
    ],
    svid: gatewaySvid,
    bundle: td.bundle,
    policy,
    revocations: instead.revocations ?? revocations,
    clock,
    log,
    ...(instead.connections === undefined ? {} : { connections: instead.connections }),
    ...(instead.bodies === undefined ? {} : { bodies: instead.bodies }),
    ...(instead.unread === undefined ? {} : { unread: instead.unread }),
    ...(instead.arriving === undefined ? {} : { arriving: instead.arriving }),
    record: record ?? ((...more) => void events.push(...more)),
    successions: {
      follows: (next, old) => links.get(next) === old,
      onChange: (listener) => linked.onChange(listener),
    },
    maxRequestBytes: instead.maxRequestBytes,
    counts: instead.counts ?? countsAlone(),
    ensureHeard: instead.ensureHeard,
    spans: instead.spans,
  });
  policy.publish(policyFor(gateway.port, tools, 2n, who, rules));
  return {
    td,
    gateway,
    gatewaySvid,
    policy,
    revocations,
    events,
    links,
    tellLinks: () => linked.publish(links.size),
    close: () => gateway.close(),
  };
}

/** A connect for TRIAGE, or whose SVID is given; `uid` is whose programs may call it. */
export function connectTo(
  world: World,
  local: ConnectOptions['local'],
  {
    svid = live(world.td.svid(TRIAGE)),
    uid = process.getuid?.() ?? 0,
    clock = systemClock,
    log = silentLog,
    maxRequestBytes,
    findTools,
    spans,
    ...named
  }: {
    /** Undefined for all that the policy has. */
    server?: string | undefined;
    svid?: Source<Svid>;
    uid?: number;
    clock?: Clock;
    log?: Log;
    maxRequestBytes?: number;
    findTools?: boolean;
    spans?: ConnectOptions['spans'];
  } = {},
) {
  const { policy, revocations, td } = world;
  const sources = { svid, bundle: td.bundle, policy, revocations, clock };
  return startConnect({
    server: 'server' in named ? named.server : 'everything',
    local,
    ...sources,
    uid,
    platform: process.platform,
    log,
    maxRequestBytes,
    findTools,
    spans,
  });
}
