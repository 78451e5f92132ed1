import { randomBytes } from 'node:crypto';
import fs, { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writePem } from '@chancery/shared/der/pem.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../test/kit/ca/ca.ts';
import { makeAuthority, makeLeaf } from '../../test/kit/certificates.ts';
import { withMemoryKeys } from '../../test/kit/observe/agent.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../../test/kit/tpm/swtpm.ts';
import { joinOnce, type MemoryKeyAgent, startAgent } from './agent.ts';
import { type AgentSettings, paths } from './config/schema.ts';
import { loadKnownGood, saveKnownGood } from './trust/state/last-known-good.ts';
import { NO_REVOCATIONS } from './trust/state/revocations.ts';

/** What the agents of a test have opened and closed, and what their trust streams wait for before they end. */
const watched = vi.hoisted(() => ({ opened: 0, closed: 0, before: Promise.resolve() }));
vi.mock(import('./evidence/auto.ts'), async (original) => {
  const actual = await original();
  const findEvidence: typeof actual.findEvidence = async (...given) => {
    const source = await actual.findEvidence(...given);
    watched.opened += 1;
    const close = async (): Promise<void> => {
      watched.closed += 1;
      await source.close();
    };
    return Object.assign(Object.create(source), { close });
  };
  return { ...actual, findEvidence };
});
vi.mock(import('./trust/stream/follow.ts'), async (original) => {
  const actual = await original();
  const followTrust: typeof actual.followTrust = (...given) => {
    const following = actual.followTrust(...given);
    return { ...following, ended: following.ended.finally(() => watched.before) };
  };
  return { ...actual, followTrust };
});

const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload`);
const TTL_SECONDS = 300;
const server = {
  kind: 'McpServer',
  name: 'github',
  identity: ID,
  address: 'github.internal:8443',
  owner: 'platform',
};
const access = { kind: 'Access', name: 'all', who: [ID], servers: ['github'], tools: { allow: ['*'] } };
const identity = (platform: string) => ({
  kind: 'Identity',
  name: platform,
  platform,
  id: ID,
  x509: { ttl: `${TTL_SECONDS}s` },
});
const everything = [identity('unix'), identity('tpm'), server, access];

let tpm: SoftwareTpm;
let ca: TestCa;
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  const { roots, intermediates } = tpm;
  const limits = { attestationsPerSecond: 1000, attestationBurst: 1000 };
  ca = await startTestCa({ limits, attestors: { unix: {}, tpm: { roots, intermediates } } });
});
afterAll(async () => {
  await ca.close();
  await tpm.stop();
});

let folders = 0;
let settings: AgentSettings;
let log: ReturnType<typeof listening>;
let agents: MemoryKeyAgent[];
let acknowledgedBefore: number;
beforeEach(async () => {
  folders += 1;
  agents = [];
  log = listening();
  const bundle = join(ca.dir, 'bundle.pem');
  writeFileSync(bundle, ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  settings = {
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
    ca: { address: `127.0.0.1:${ca.running.port}`, bundle, socket: ca.joinSocket },
    evidence: { unix: {} },
    dataDir: join(ca.dir, `agent-${folders}`),
    outputs: [],
    connect: [],
    logLevel: 'error',
  };
  await ca.apply(...everything);
  acknowledgedBefore = await acknowledged();
  Object.assign(watched, { opened: 0, closed: 0, before: Promise.resolve() });
});
afterEach(async () => {
  for (const agent of agents) await agent.close();
});

async function start(changes: Partial<AgentSettings> = {}, clock: Clock = ca.clock): Promise<MemoryKeyAgent> {
  const deps = { clock, random: () => 0.5, randomBytes, log, env: {}, version: 'test' };
  const agent = withMemoryKeys(
    await startAgent({ ...settings, ...changes }, deps, AbortSignal.timeout(60_000)),
  );
  agents.push(agent);
  return agent;
}

/** Everything that is logged, and a way to wait for it. */
function listening() {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const hear = (_: object, message: string): void => {
    lines.push(message);
    for (const wake of waiting) wake();
  };
  return {
    ...silentLog,
    info: hear,
    warn: hear,
    error: hear,
    lines,
    /** Resolves when a line like this comes. */
    next: (like: RegExp) =>
      new Promise<void>((resolve) => {
        const from = lines.length;
        const look = (): void => {
          if (!lines.slice(from).some((line) => like.test(line))) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
      }),
  };
}

const statePath = () => paths(settings.dataDir).state;
const turn = () => new Promise((resolve) => setImmediate(resolve));
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await turn();
}
/** The first snapshot is in force, and its acknowledgement on record. */
async function settled(agent: MemoryKeyAgent): Promise<void> {
  await until(() => hasPolicy(agent));
  await until(async () => (await acknowledged()) > acknowledgedBefore);
}
const hasPolicy = (agent: MemoryKeyAgent): boolean => {
  try {
    return agent.trust.policy.current() !== undefined;
  } catch {
    return false;
  }
};
const acknowledged = async (): Promise<number> =>
  (await ca.store.events(0, 100_000)).filter(({ event }) => event.type === 'agent.acknowledged').length;

describe('the last known good', () => {
  const stranger = Buffer.from(makeAuthority('stranger').certificate.der).toString('base64');
  const changeState = (change: (stored: Record<string, unknown>) => object): void => {
    writeFileSync(statePath(), JSON.stringify(change(JSON.parse(readFileSync(statePath(), 'utf8')))));
  };
  const serialsOf = ({ svid }: MemoryKeyAgent): readonly string[] =>
    svid.current().chain.map((der) => Buffer.from(der).toString('hex'));
  async function restart(changes: Partial<AgentSettings> = {}) {
    const before = await start();
    await settled(before);
    const had = serialsOf(before);
    await before.close();
    return { had, restarted: async () => serialsOf(await start(changes)) };
  }

  test('is carried on with', async () => {
    const { had, restarted } = await restart();
    expect(await restarted()).toEqual(had);
    expect(log.lines).toContain('started with the saved SVID');
    expect(
      decideServer(agents.at(-1)?.trust.policy.current() ?? expect.fail(), { caller: ID }, 'github').allow,
    ).toBe(true);
  });

  test('has the revocations, before the CA has said anything', async () => {
    await restart();
    changeState((state) => {
      const revoked = {
        number: 1,
        kind: 'id',
        value: `${ID}2`,
        serials: [],
        reason: 'superseded',
        until: null,
      };
      return { ...state, revocations: { sequence: '1', list: [revoked] } };
    });
    const ca = { ...settings.ca, address: '127.0.0.1:1' };
    const { revocations } = (await start({ ca })).trust;
    const peer = { id: parseSpiffeId(`${ID}2`) };
    expect(revocations.current().revoked(peer, new Date())).toMatchObject({ number: 1 });
  });

  test.each<readonly [string, (state: Record<string, unknown>) => object]>([
    [
      'whose bundle is another trust domain’s',
      (state) => ({ ...state, bundle: { ...(state['bundle'] as object), trustDomain: 'other.example' } }),
    ],
    [
      'with a policy of another version of the agent',
      (state) => ({ ...state, policy: { version: '1', resources: ['{"kind":"Unheard"}'] } }),
    ],
    [
      'of an authority that is not in its bundle',
      (state) => ({ ...state, bundle: { ...(state['bundle'] as object), authorities: [stranger] } }),
    ],
  ])('%s is left, and the agent joins anew', async (_, change) => {
    const { had, restarted } = await restart();
    changeState(change);
    expect(await restarted()).not.toEqual(had);
    expect(log.lines).toContain('joined');
  });

  test('of another trust domain, good as it is, is left', async () => {
    const { restarted } = await restart();
    const now = ca.clock.now().getTime();
    const fields = { notBefore: new Date(now - 10_000), notAfter: new Date(now + 3_600_000) };
    const root = makeAuthority('other', undefined, { fields });
    const id = parseSpiffeId('spiffe://other.example/workload');
    const { certificate, key } = makeLeaf(id, root, { fields });
    const svid = { id, chain: [certificate.der], key, ...fields, renewAfter: new Date(now + 1_800_000) };
    const authorities = [root.certificate.der];
    const bundle = { trustDomain: parseTrustDomain('other.example'), authorities, sequence: 1n };
    const policy = { version: 1n, resources: [] };
    await saveKnownGood(statePath(), { svid, bundle, policy, revocations: NO_REVOCATIONS });
    await restarted();
    expect(agents.at(-1)?.svid.current().id).toBe(ID);
  });

  test('that has expired is left', async () => {
    const { had, restarted } = await restart();
    ca.clock.move(TTL_SECONDS + 20);
    expect(await restarted()).not.toEqual(had);
  });

  test('for another SPIFFE ID than the config wants is left', async () => {
    const other = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/other`);
    await ca.apply(...everything, { kind: 'Identity', name: 'z-other', platform: 'unix', id: other });
    const { restarted } = await restart();
    await restarted();
    await restart({ id: other }).then(({ restarted: again }) => again());
    expect(agents.at(-1)?.svid.current().id).toBe(other);
  });

  test.each([
    ['damaged', '{'],
    ['of another version', '{"version":2}'],
    ['empty', ''],
  ])('that is %s is kept aside, and the agent joins anew with one warning', async (_, text) => {
    const { had, restarted } = await restart();
    writeFileSync(statePath(), text, { mode: 0o600 });
    const before = log.lines.length;
    expect(await restarted()).not.toEqual(had);
    expect(readFileSync(`${statePath()}.unusable`, 'utf8')).toBe(text);
    expect(log.lines.slice(before).filter((line) => /state\.json/.test(line))).toHaveLength(1);
    expect(loadKnownGood(statePath())).toBeDefined();
  });

  test('that others may have written ends the agent', async () => {
    const { restarted } = await restart();
    chmodSync(statePath(), 0o666);
    await expect(restarted()).rejects.toMatchObject({ code: 'file_mode' });
  });
});

describe.each(['unix', 'tpm'] as const)('without an identity any more (%s)', (platform) => {
  test('serves until its certificate ends, reports that, keeps trying, and recovers when it gets a new one', async () => {
    const evidence =
      platform === 'unix' ? { unix: {} } : { tpm: { device: tpm.device, key: 'memory' as const } };
    const agent = await start({ evidence });
    const first = agent.svid.current();
    await ca.apply(server, access);
    const alarmed = log.next(/could not be renewed; it serves until it expires/);
    ca.clock.move(TTL_SECONDS / 2 + 10);
    await alarmed;
    expect(agent.renewalFailure()).toMatch(/the CA refused \(PERMISSION_DENIED\): no identity is given/);
    expect(agent.svid.current()).toBe(first);
    const expired = log.next(/has expired and could not be replaced/);
    ca.clock.move(TTL_SECONDS / 2 + 10);
    await expired;
    expect(agent.svid.current()).toBe(first);
    await ca.apply(...everything);
    const rotated = log.next(/^rotated$/);
    ca.clock.move(61);
    await rotated;
    expect(agent.svid.current().notAfter.getTime()).toBeGreaterThan(ca.clock.now().getTime());
    expect(agent.renewalFailure()).toBeUndefined();
  });
});

test('an SVID that has expired by the CA’s clock and not by the agent’s is replaced at once', async () => {
  // The TPM is free again when the certificate of the last agent that used it has expired.
  ca.clock.move(2 * TTL_SECONDS);
  const behind: Clock = {
    now: () => addSeconds(ca.clock.now(), -5),
    sleepUntil: (time, signal) => ca.clock.sleepUntil(time, signal),
  };
  const agent = await start({ evidence: { tpm: { device: tpm.device, key: 'memory' } } }, behind);
  const first = agent.svid.current();
  const rotated = log.next(/^rotated$/);
  ca.clock.move(TTL_SECONDS + 2);
  expect(behind.now() < first.notAfter && ca.clock.now() > first.notAfter).toBe(true);
  await rotated;
  expect(log.lines.filter((line) => /could not be renewed/.test(line))).toEqual([]);
});

test('a machine that slept past the end of its SVID logs that and renews at once', async () => {
  const agent = await start();
  const first = agent.svid.current();
  const [said, rotated] = [log.next(/expired before it was renewed/), log.next(/^rotated$/)];
  ca.clock.move(TTL_SECONDS + 3000);
  await said;
  await rotated;
  expect(agent.svid.current().notAfter > first.notAfter).toBe(true);
  expect(agent.renewalFailure()).toBeUndefined();
});

test('an agent that is closed right after a renewal has saved it', async () => {
  const agent = await start();
  await settled(agent);
  const { rename } = fs.promises;
  const [held, begun] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  vi.spyOn(fs.promises, 'rename').mockImplementation(async (...names) => {
    begun.resolve();
    await held.promise;
    await rename(...names);
  });
  try {
    const rotated = log.next(/^rotated$/);
    ca.clock.move(TTL_SECONDS / 2 + 10);
    await Promise.all([rotated, begun.promise]);
    let isClosed = false;
    const closing = agent.close().then(() => {
      isClosed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isClosed).toBe(false);
    held.resolve();
    await closing;
    expect(loadKnownGood(statePath())).toMatchObject({ svid: { notAfter: agent.svid.current().notAfter } });
  } finally {
    held.resolve();
    vi.restoreAllMocks();
  }
});

describe('a disk that is full', () => {
  /** A folder cannot be renamed over: every save fails from now on. */
  const fill = (): void => {
    rmSync(statePath());
    mkdirSync(join(statePath(), 'full'), { recursive: true });
  };

  test('does not take a new certificate away', async () => {
    const agent = await start();
    await settled(agent);
    fill();
    const first = agent.svid.current();
    const rotated = log.next(/could not be saved; after a restart the agent must join again/);
    ca.clock.move(TTL_SECONDS / 2 + 10);
    await rotated;
    await until(() => agent.svid.current() !== first);
  });

  test('does not keep a policy from being in force, only from being acknowledged', async () => {
    const agent = await start();
    await settled(agent);
    fill();
    expect(decideServer(agent.trust.policy.current(), { caller: ID }, 'github').allow).toBe(true);
    const before = await acknowledged();
    const refused = log.next(/snapshot from the CA is not acknowledged/);
    await ca.apply(identity('unix'), server);
    await refused;
    expect(decideServer(agent.trust.policy.current(), { caller: ID }, 'github').allow).toBe(false);
    expect(await acknowledged()).toBe(before);
    expect(agent.snapshotFailure()).toMatch(/state\.json/);
    rmSync(statePath(), { recursive: true });
    await ca.apply(...everything);
    await until(() => agent.snapshotFailure() === undefined);
  });
});

describe('revocations', () => {
  const other = { id: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/other`) };

  test('are pushed, in force, on disk and acknowledged, and the policy is not pushed with them', async () => {
    const agent = await start();
    await settled(agent);
    const policy = agent.trust.policy.current();
    const before = await acknowledged();
    await ca.revoke('id', other.id);
    await until(async () => (await acknowledged()) > before);
    const [first] = agent.trust.revocations.current().list;
    expect(first).toMatchObject({ target: { kind: 'id', value: other.id }, reason: 'keyCompromise' });
    expect(agent.trust.policy.current()).toBe(policy);
    expect(loadKnownGood(statePath())).toMatchObject({ revocations: { list: [first] } });
    await agent.close();
    expect((await start()).trust.revocations.current().revoked(other, ca.clock.now())).toEqual(first);
  });

  test('count with a full disk too', async () => {
    const agent = await start();
    await settled(agent);
    rmSync(statePath());
    mkdirSync(join(statePath(), 'full'), { recursive: true });
    const refused = log.next(/snapshot from the CA is not acknowledged/);
    await ca.revoke('id', `${other.id}/full`);
    await refused;
    const peer = { id: parseSpiffeId(`${other.id}/full`) };
    expect(agent.trust.revocations.current().revoked(peer, ca.clock.now())).toBeDefined();
  });
});

test('closing ends everything at once, and only once', async () => {
  const agent = await start();
  await settled(agent);
  const ended = expect(agent.ended).rejects.toThrow();
  await agent.close();
  await ended;
  await agent.close();
});

test('an abort while the CA is away ends the start', async () => {
  const stop = new AbortController();
  const deps = { clock: ca.clock, random: () => 0.5, randomBytes, log, env: {}, version: 'test' };
  const socket = join(ca.dir, 'nobody.sock');
  const starting = startAgent({ ...settings, ca: { ...settings.ca, socket } }, deps, stop.signal);
  await log.next(/not joined yet/);
  stop.abort();
  await expect(starting).rejects.toThrow();
});

describe('the evidence is closed', () => {
  const deps = () => ({ clock: ca.clock, random: () => 0.5, randomBytes, log, env: {}, version: 'test' });
  const signal = () => AbortSignal.timeout(60_000);
  const broken = () => ({ ...settings, ca: { ...settings.ca, bundle: join(ca.dir, 'nothing.pem') } });

  test('after a start that failed', async () => {
    await expect(startAgent(broken(), deps(), signal())).rejects.toThrow(/nothing\.pem/);
    expect(watched).toMatchObject({ opened: 1, closed: 1 });
  });

  test('after the only join of a job, and after one that failed', async () => {
    expect((await joinOnce(settings, deps(), signal())).svid.id).toBe(ID);
    expect(watched).toMatchObject({ opened: 1, closed: 1 });
    await expect(joinOnce(broken(), deps(), signal())).rejects.toThrow(/nothing\.pem/);
    expect(watched).toMatchObject({ opened: 2, closed: 2 });
  });

  test('never opened, where a job would need a key that stays in the platform', async () => {
    const inTpm = { ...settings, evidence: { tpm: { device: tpm.device, key: 'tpm' as const } } };
    await expect(joinOnce(inTpm, deps(), signal())).rejects.toMatchObject({ code: 'config' });
    expect(watched.opened).toBe(0);
  });

  test('after the trust stream has ended', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    watched.before = promise;
    const agent = await start();
    await settled(agent);
    const closing = agent.close();
    for (let n = 0; n < 20; n += 1) await turn();
    expect(watched.closed).toBe(0);
    resolve();
    await closing;
    expect(watched.closed).toBe(1);
  });
});

test('an abort that nobody waits for ends the agent, and not the process', async () => {
  const stop = new AbortController();
  const deps = { clock: ca.clock, random: () => 0.5, randomBytes, log, env: {}, version: 'test' };
  const { promise, resolve } = Promise.withResolvers<void>();
  watched.before = promise;
  const agent = await startAgent(settings, deps, stop.signal);
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  try {
    stop.abort();
    resolve();
    for (let n = 0; n < 50; n += 1) await turn();
    expect(unhandled).not.toHaveBeenCalled();
  } finally {
    process.off('unhandledRejection', unhandled);
    await agent.close();
  }
});
