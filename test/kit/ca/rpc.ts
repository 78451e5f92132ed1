/** The CA's RPCs without a network: calls as grpc-js makes them, over rooms that are real but in memory. */
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Agents } from '@chancery/ca/agents/agents.ts';
import { Serving } from '@chancery/ca/agents/serving.ts';
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { type IssuedSvid, issue } from '@chancery/ca/authority/issue.ts';
import type { MadeCrl } from '@chancery/ca/crl/sign.ts';
import { openCross } from '@chancery/ca/cross/cross.ts';
import { Limits } from '@chancery/ca/door/limits.ts';
import { PersonShares } from '@chancery/ca/door/person-shares.ts';
import { ReportRoom } from '@chancery/ca/door/report-room.ts';
import { openRotations } from '@chancery/ca/jwt/rotations.ts';
import type { KeyHomes } from '@chancery/ca/keys/homes.ts';
import { openOperator } from '@chancery/ca/operator/operator.ts';
import { dnsNamesOf } from '@chancery/ca/registry/dns-names.ts';
import { gatewaysOf } from '@chancery/ca/registry/policy-view.ts';
import { openRegistry } from '@chancery/ca/registry/registry.ts';
import { openRevocations } from '@chancery/ca/revocation/revocations.ts';
import type { Caller, TlsCaller } from '@chancery/ca/rpc/caller.ts';
import { Nonces } from '@chancery/ca/rpc/exchange/nonces.ts';
import { refuserOf } from '@chancery/ca/rpc/refuse.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import { Successions } from '@chancery/ca/succession/successions.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { IdentityError, REFUSALS, type Refusal } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { Callers } from '@chancery/shared/rpc/callers.ts';
import type { Handled } from '@chancery/shared/rpc/method.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, vi } from 'vitest';
import { stringify } from 'yaml';
import { NOW } from '../certificates.ts';
import { makeAuthorities, proven } from './authority.ts';

/** What an offline root is asked for is shown by tests of its room. */
const requests = {
  open: async () => [],
  ask: async () => [],
  take: async () =>
    ({ kind: 'intermediate', serial: 'ef', notBefore: NOW, notAfter: NOW, signs: true }) as const,
  keepUp: async () => {},
};

export type Rpc = Awaited<ReturnType<typeof makeRpc>>;

const REPORTED_PER_DAY = 1024 ** 3;

/** All that the handlers need, whose audit log and outcomes a test can read. */
export async function makeRpc(
  attestors: readonly Attestor[] = [],
  given?: Store,
  keys?: KeyHomes,
  burst = 1000,
) {
  const made = await makeAuthorities({ ...(given && { store: given }), ...(keys && { keys }) });
  const { store, clock, trustDomain } = made;
  const platforms = new Map(attestors.map((attestor) => [attestor.type, attestor]));
  const many = 1000;
  const limits = {
    attestationsPerSecond: many,
    attestationBurst: burst,
    openAttestations: many,
    openAttestationsPerAddress: many,
  };
  const [outcomes, observed]: [string[], string[]] = [[], []];
  const audit = (event: AuditEvent) => store.append(event);
  const ownUid = 1000;
  const rooms = {
    registry: await openRegistry({ store, clock, trustDomain, platforms: new Set(platforms.keys()) }),
    revocations: await openRevocations(made),
    agents: new Agents(clock),
    serving: new Serving(clock),
    shares: new PersonShares(),
    crls: new LiveValue<readonly MadeCrl[]>(() => new IdentityError('unavailable', 'no lists')),
  };
  // What a copy is like is shown with files.
  vi.spyOn(made.store, 'copyTo').mockResolvedValue();
  const recovery = {
    take: async () => false,
    isAwaited: (id: SpiffeId) => gatewaysOf(rooms.registry.sets.current()).has(id),
    acceptLoss: async () => false,
    whyHeld: () => 'a test',
  };
  const rotation = openRotations({
    ...made,
    ...rooms,
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => {},
  });
  const loaded = { settings: new Map([['logLevel', '"info"']]), files: new Map() };
  const self = {
    version: '1',
    since: clock.now(),
    loaded,
    unfit: () => undefined,
    impaired: () => undefined,
    doubt: () => undefined,
  };
  const cross = openCross({ ...made, dnsNames: () => dnsNamesOf(rooms.registry.sets.current()) });
  return {
    ...made,
    cross,
    self,
    standstill: () => undefined,
    keepSeconds: undefined,
    reports: store,
    log: silentLog,
    attestors: platforms,
    requests,
    ...rooms,
    operator: openOperator({
      ...made,
      ...rooms,
      rotation,
      cross,
      audit,
      ownUid,
      copyPath: 'nowhere',
      recovery,
      requests,
      people: async () => [],
      twoPeople: false,
      self,
      keepSeconds: undefined,
      standstill: () => undefined,
    }),
    successions: new Successions(clock, new Uint8Array(32)),
    // What they are like is shown with a log.
    vouchers: { logKey: '', list: async () => [] },
    notes: { of: () => '', ofPeer: () => '' },
    own: { svid: new LiveValue<Svid>(() => new IdentityError('unavailable', 'no certificate')) },
    checkpoint: () => '',
    recovery,
    limits: new Limits(limits, clock),
    reportRoom: new ReportRoom({ folder: '.', bytesPerDay: REPORTED_PER_DAY, clock }),
    callers: new Callers<Caller>(),
    nonces: new Nonces(clock, (size) => randomBytes(size)),
    ownUid,
    outcomes,
    observed,
    outcome: (platform: string, outcome: string) => void outcomes.push(`${platform} ${outcome}`),
    observe: (name: string, seconds: number, outcome: string) =>
      void observed.push(`${name} ${seconds} ${outcome}`),
    audit,
    refuse: refuserOf({ audit, log: silentLog, clock }),
  };
}

export const applied = ({ registry }: Rpc, ...resources: readonly object[]) =>
  registry.apply(
    [{ name: 'test.yaml', text: resources.map((each) => stringify(each)).join('---\n') }],
    'the test',
  );

/** The name by which grpc-js would report this caller. */
export function peerOf({ callers }: Pick<Rpc, 'callers'>, caller: Caller): string {
  const socket: { remoteAddress?: string } = {};
  callers.add(socket, caller);
  return `${socket.remoteAddress}:1`;
}

export const stranger: TlsCaller = {
  via: 'tls',
  address: '10.0.0.1',
  shownCertificate: false,
  svid: () => {
    throw new Error('nobody should ask a stranger');
  },
};

/** A caller with a certificate that this CA has issued. */
export async function certifiedCaller(
  rpc: Rpc,
  ttlSeconds = 3600,
): Promise<{ caller: TlsCaller; issued: IssuedSvid }> {
  const id = parseSpiffeId('spiffe://prod.example/web');
  const node = { platform: 'fake', node: 'n1', identity: 'web' };
  const issued = await issue({ id, ...node, ttlSeconds, dnsNames: [], key: await proven() }, rpc);
  const bundle = rpc.authorities.bundle.current();
  const svid = (now: Date) => verifySvid(issued.chain, bundle, now);
  return { issued, caller: { ...stranger, shownCertificate: true, svid } };
}

interface Codec {
  readonly requestSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}
type RequestOf<C extends Codec> = Parameters<C['requestSerialize']>[0];
type ResponseOf<C extends Codec> = ReturnType<C['responseDeserialize']>;

/** A duplex call, as the server's side of grpc-js has it. */
export class FakeCall<C extends Codec> extends EventEmitter {
  readonly written: ResponseOf<C>[] = [];
  readonly flow: string[] = [];
  readonly ended = vi.fn();
  readonly failed: Promise<Partial<grpc.StatusObject>>;
  destroyed = false;
  readonly #method: C;
  readonly #peer: string;

  constructor(method: C, peer: string) {
    super();
    this.#method = method;
    this.#peer = peer;
    this.failed = new Promise((resolve) => this.on('error', resolve));
  }

  run({ run }: Handled): void {
    (run as (call: object) => void)(this);
  }
  getPeer = (): string => this.#peer;
  pause = (): void => void this.flow.push('pause');
  resume = (): void => void this.flow.push('resume');
  end = (): void => this.ended();
  write(message: ResponseOf<C>, done: () => void): void {
    this.written.push(message);
    done();
  }
  /** Says this to the server. */
  say(message: RequestOf<C>): void {
    this.emit('data', this.#method.requestSerialize(message as never));
  }
  /** The next message of the server. */
  async next(): Promise<ResponseOf<C>> {
    return vi.waitFor(() => {
      const message = this.written.shift();
      if (message === undefined) throw new Error('the server has said nothing');
      return message;
    });
  }
}

export interface Answer {
  readonly error: Partial<grpc.StatusObject> | null;
  readonly response: unknown;
}

/** Makes a unary call. */
export function callUnary({ run }: Handled, peer: string, request: Uint8Array): Promise<Answer> {
  const handle = run as (call: object, done: (error: Answer['error'], response?: unknown) => void) => void;
  return new Promise((resolve) => {
    handle({ getPeer: () => peer, request: Buffer.from(request) }, (error, response) =>
      resolve({ error, response }),
    );
  });
}

/** The peer got the table's status and sentence, the audit log the reason. */
export async function expectRefused(
  rpc: Rpc,
  status: Partial<grpc.StatusObject> | null,
  code: Refusal,
  detail: RegExp,
): Promise<void> {
  const { grpc: name, says } = REFUSALS[code];
  // Whatever was to be written before is written with this.
  await rpc.audit({ type: 'registry.applied', version: 0, changes: [], by: 'the test, as a fence' });
  const refusals = (await rpc.store.events(0, 1000)).filter(({ event }) => event.type === 'request.refused');
  expect(refusals.at(-1)?.event).toMatchObject({ code, detail: expect.stringMatching(detail) });
  expect(status).toEqual({ code: grpc.status[name], details: says });
}
