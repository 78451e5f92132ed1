/**
 * A `connect` process beside a running agent: its own key, certified through the agent's socket, and the agent's bundle
 * and policy. It certifies anew whenever the agent has rotated, and waits for the agent when that restarts.
 */
import http from 'node:http';
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import type { z } from 'zod';
import { untilBegun } from '../svid/begun.ts';
import { loadRevocations } from '../trust/state/revocations.ts';
import { compileSnapshot } from '../trust/state/snapshot.ts';
import { Refused, StatusReport, SvidAnswer, TrustLine } from './local-messages.ts';

export interface Attached {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  /** Ends the connection to the agent. Does not wait. */
  close(): void;
}

export interface AttachOptions {
  readonly socket: string;
  /** The narrower grant that its certificates are to have. */
  readonly scope?: string | undefined;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

const CALL_MS = 15_000;
/** A restart of the agent takes seconds; many processes may wait for it. */
const RETRY = { firstSeconds: 0.5, lastSeconds: 10, spread: 0.2 };
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * Resolves when everything is ready, however long the agent takes. Rejects with a permanent refusal of the agent, or
 * with the last failure once `signal` is aborted.
 */
export async function attach(options: AttachOptions, signal: AbortSignal): Promise<Attached> {
  const missing = () => new IdentityError('unavailable', 'the agent has not answered yet');
  const live: LiveSources = {
    svid: new LiveValue<Svid>(missing),
    bundle: new LiveValue<Bundle>(missing),
    policy: new LiveValue<Policy>(missing),
    revocations: new LiveValue<RevocationSet>(missing),
  };
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const ready = Promise.withResolvers<void>();
  let last: unknown;
  const onFailure = (error: unknown): boolean => {
    last = error;
    const final = !live.svid.has() && isRefusal(error) && error.code !== 'unavailable';
    if (final) ready.reject(error);
    return final;
  };
  follow(options, live, { until, onReady: ready.resolve, onFailure })
    .then(() => ready.reject(last ?? until.reason))
    .catch(ready.reject);
  await ready.promise;
  return { ...live, close: () => stop.abort() };
}

/** The revocation of this identity, as the agent knows it; undefined if there is none, or no agent answers. */
export async function readRevocation(socket: string): Promise<string | undefined> {
  try {
    return (await readStatus(socket)).revoked ?? undefined;
  } catch {
    return undefined;
  }
}

/** Throws unavailable if no agent answers, message_parse if an agent of another release does. */
export async function readStatus(socket: string): Promise<StatusReport> {
  return readAs(StatusReport, await call(socket, 'GET', '/v1/status', undefined), socket);
}

function readAs<T>(form: z.ZodType<T>, text: string, socket: string): T {
  try {
    return form.parse(JSON.parse(text));
  } catch (error) {
    const says = `the agent at ${socket} is of another release than this program: restart the agent`;
    throw new IdentityError('message_parse', says, { cause: error });
  }
}

interface LiveSources {
  readonly svid: LiveValue<Svid>;
  readonly bundle: LiveValue<Bundle>;
  readonly policy: LiveValue<Policy>;
  readonly revocations: LiveValue<RevocationSet>;
}

interface Following {
  readonly until: AbortSignal;
  /** Called whenever what the agent has sent is in force, with a certificate that goes with it. */
  readonly onReady: () => void;
  /** True ends the attempts. */
  readonly onFailure: (error: unknown) => boolean;
}

async function follow(options: AttachOptions, live: LiveSources, following: Following): Promise<void> {
  const { clock, log, socket, random } = options;
  let [failures, warned] = [0, false];
  const onReady = (): void => {
    [failures, warned] = [0, false];
    following.onReady();
  };
  while (!following.until.aborted) {
    try {
      await followOnce(options, live, { ...following, onReady });
      log.info({ socket }, 'the agent closed its stream; attaching again');
    } catch (error) {
      if (following.until.aborted) return;
      if (following.onFailure(error)) return;
      const says =
        'the agent does not answer; the last bundle and policy stay in force until the certificate expires';
      // Once, and not at each attempt.
      if (warned) log.debug({ err: error }, says);
      else log.warn({ err: error }, says);
      warned = true;
    }
    failures += 1;
    const seconds = backoffSeconds(RETRY, failures, random());
    await clock.sleepUntil(addSeconds(clock.now(), seconds), following.until).catch(() => {});
  }
}

async function followOnce(
  options: AttachOptions,
  live: LiveSources,
  { until, onReady }: Following,
): Promise<void> {
  let certifiedFor = '';
  for await (const text of linesOf(options.socket, until)) {
    const line = readAs(TrustLine, text, options.socket);
    const trustDomain = parseTrustDomain(line.bundle.trustDomain);
    const bundle: Bundle = { ...line.bundle, trustDomain, sequence: BigInt(line.bundle.sequence) };
    live.revocations.publish(loadRevocations(line.revocations));
    live.bundle.publish(bundle);
    live.policy.publish(
      compileSnapshot(line.policy.resources, BigInt(line.policy.version), options.clock.now()),
    );
    if (line.svidNotAfter !== certifiedFor) {
      const old = live.svid.has() ? live.svid.current() : undefined;
      live.svid.publish(await certify(options, bundle, old, until));
      certifiedFor = line.svidNotAfter;
    }
    onReady();
  }
}

async function certify(
  { socket, scope, clock, log }: AttachOptions,
  bundle: Bundle,
  old: Svid | undefined,
  until: AbortSignal,
): Promise<Svid> {
  const key = generateKey();
  const csr = await writeCsr(signerOf(key));
  // Open calls may continue under the new certificate.
  const asked = scope === undefined ? '/v1/svid' : `/v1/svid/${scope}`;
  const path = old === undefined ? asked : `${asked}?succeeds=${serialOf(old)}`;
  const answer = readAs(SvidAnswer, await call(socket, 'POST', path, csr), socket);
  await untilBegun(answer.chain, clock, until, (begins) =>
    log.warn({ begins }, "this machine's clock is behind: the new certificate is used once it is valid"),
  );
  const { id, certificate, attested } = verifySvid(answer.chain, bundle, clock.now());
  ensure(id === parseSpiffeId(answer.id), 'svid', `the certificate is for ${id}, not ${answer.id}`);
  const given = attested.scope;
  ensure(given === scope, 'svid', `the certificate has the scope ${given}, not ${scope}`);
  ensure(equal(certificate.spki, spkiOf(key)), 'svid', 'another key was certified');
  const { notBefore, notAfter } = certificate;
  return {
    id,
    chain: answer.chain,
    key,
    notBefore,
    notAfter,
    renewAfter: new Date(answer.renewAfter * 1000),
  };
}

const serialOf = ({ chain: [leaf = new Uint8Array()] }: Svid): string => hex(parseCertificate(leaf).serial);

/** Ends with the agent's stream; throws when that breaks off, as it does when the agent is killed. */
async function* linesOf(socket: string, signal: AbortSignal): AsyncGenerator<string> {
  const response = await request(socket, { method: 'GET', path: '/v1/trust', signal }, undefined);
  if (response.statusCode !== 200) await textOf(response);
  let rest = '';
  for await (const part of response.setEncoding('utf8')) {
    const lines = `${rest}${part}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

async function call(
  socket: string,
  method: string,
  path: string,
  body: Uint8Array | undefined,
): Promise<string> {
  return textOf(await request(socket, { method, path, signal: AbortSignal.timeout(CALL_MS) }, body));
}

/** Throws unavailable with the agent's message if there is no answer. */
async function textOf(response: http.IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response) {
    const bytes: Buffer = part;
    size += bytes.length;
    ensure(size <= MAX_ANSWER_BYTES, 'message_size', 'the agent’s answer is too large');
    parts.push(bytes);
  }
  const text = Buffer.concat(parts).toString('utf8');
  const status = response.statusCode ?? 500;
  // The agent refuses, or does not serve this: another attempt gets the same answer.
  ensure(status !== 400 && status !== 403, 'refused_by_ca', `the agent refused: ${reasonIn(text)}`);
  ensure(status === 200, 'unavailable', `the agent answered HTTP ${status}: ${reasonIn(text)}`);
  return text;
}

/** The agent refuses in JSON; another program may answer anything. */
function reasonIn(text: string): string {
  try {
    const { message } = Refused.parse(JSON.parse(text));
    return message.slice(0, 300);
  } catch {
    return text.slice(0, 300);
  }
}

const isTimeUp = (signal: AbortSignal | undefined): boolean =>
  signal?.aborted === true && signal.reason instanceof Error && signal.reason.name === 'TimeoutError';

function request(
  socket: string,
  options: http.RequestOptions,
  body: Uint8Array | undefined,
): Promise<http.IncomingMessage> {
  return new Promise<http.IncomingMessage>((resolve, reject) => {
    const sent = http.request({ ...options, socketPath: socket, agent: false }, resolve);
    sent.on('error', (error) =>
      reject(
        refusalOf(
          error,
          'unavailable',
          isTimeUp(options.signal)
            ? `the agent at ${socket} has not answered in time: it is stopped or busy`
            : `no agent answers at ${socket}: run chancery-agent run (${error.message})`,
        ),
      ),
    );
    sent.end(body);
  });
}
