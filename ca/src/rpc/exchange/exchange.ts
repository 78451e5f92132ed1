/**
 * The exchange of Attest and Renew: Hello, Challenge, Evidence, Issued. Attestors turn evidence into facts, the
 * registry turns facts into an identity, and the authority signs. This file only passes values between them.
 */
import { createHash } from 'node:crypto';
import type {
  AttestRequest,
  AttestResponse,
  Hello,
  Issued,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { MAX_EVIDENCE_BYTES } from '@chancery/shared/evidence/pieces.ts';
import { splitPlatforms } from '@chancery/shared/evidence/platform.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { type ProvenKey, verifyCsr } from '@chancery/shared/x509/csr.ts';
import type { Agents } from '../../agents/agents.ts';
import type { Attestor, Turn } from '../../attestors/attestor.ts';
import { attestorNamed } from '../../attestors/index.ts';
import { type Proven, prove } from '../../attestors/prove.ts';
import { type IssueDeps, type IssuedSvid, issue } from '../../authority/issue.ts';
import type { Earned } from '../../registry/identity/identity.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Revocations } from '../../revocation/revocations.ts';
import type { AuditIntake, CertificateStore, RecordedIssuance } from '../../store/store.ts';
import { predecessorOf, provenPredecessor, type Successions } from '../../succession/successions.ts';
import type { Caller } from '../caller.ts';
import type { Stream } from '../methods.ts';
import { clockProblem } from './agent-clock.ts';
import { readHello } from './hello.ts';
import { NONCE_SECONDS, type Nonce, type Nonces } from './nonces.ts';

export interface ExchangeDeps extends IssueDeps {
  readonly store: CertificateStore & Pick<AuditIntake, 'append' | 'appendSoon'>;
  readonly trustDomain: TrustDomain;
  readonly attestors: ReadonlyMap<string, Attestor>;
  readonly registry: Registry;
  readonly revocations: Revocations;
  readonly nonces: Nonces;
  readonly agents: Agents;
  readonly successions: Successions;
  readonly clock: Clock;
  readonly log: Log;
  /** Counts what was issued or refused, by platform. */
  readonly outcome: (platform: string, outcome: string) => void;
}

type ExchangeStream = Stream<AttestRequest, AttestResponse>;

/** `renewing` is the record of the caller's certificate; without it a workload joins. */
export async function exchange(
  stream: ExchangeStream,
  deps: ExchangeDeps,
  renewing: RecordedIssuance | undefined,
): Promise<void> {
  const hello = await readHello<Hello>(stream);
  const clock = clockProblem(hello.now, deps.clock.now());
  const { length } = hello.evidence;
  ensure(length <= MAX_EVIDENCE_BYTES, 'message_size', `evidence is ${length} bytes`);
  // An invented name must not become a time series.
  let platform = 'unknown';
  try {
    const attestors = splitPlatforms(hello.platform).map((name) => attestorNamed(deps.attestors, name));
    platform = attestors.map(({ type }) => type).join('+');
    await stream.send({
      message: { $case: 'issued', value: await admit(hello, attestors, { stream, deps, renewing, clock }) },
    });
    deps.outcome(platform, 'issued');
  } catch (error) {
    deps.outcome(platform, 'refused');
    throw error;
  }
}

interface Admission {
  readonly stream: ExchangeStream;
  readonly deps: ExchangeDeps;
  readonly renewing: RecordedIssuance | undefined;
  /** What the log is to say of the agent's clock, once the agent is known. */
  readonly clock: string | undefined;
}

async function admit(
  hello: Hello,
  attestors: readonly Attestor[],
  { stream, deps, renewing, clock }: Admission,
): Promise<Issued> {
  // Cheap checks first: nothing expensive is done for a caller that has not proved its key.
  const key = verifyCsr(hello.csr);
  const wanted = hello.spiffeId === '' ? undefined : parseSpiffeId(hello.spiffeId);
  ensure(wanted === undefined || !isReserved(wanted), 'not_entitled', `${wanted} is reserved`);
  const { proven, written } = await attest(attestors, hello, key, { stream, deps });
  const node = { platform: proven.platform, node: proven.node };
  if (clock !== undefined) deps.log.warn(node, clock);
  if (renewing !== undefined) ensureSameNode(renewing, node);
  const earned = deps.registry.choose(proven, renewing?.id ?? wanted, deps.clock.now());
  ensureFreshKey(key, earned, renewing);
  // A renewal shows the old certificate. A workload that joins again may sign with the old key for the new one.
  const successor = { id: earned.id, ...node };
  const proof = { proof: hello.succeeds, key, trustDomain: deps.trustDomain };
  const old =
    renewing === undefined
      ? await provenPredecessor(proof, successor, deps)
      : await predecessorOf(renewing.serial, successor, deps);
  // Checked last, and nothing is awaited until the record is on its way: a revocation is either seen here, or sees the
  // record.
  const code = renewing === undefined ? 'revoked_identity' : 'revoked_peer';
  deps.revocations.ensureGood(
    { id: earned.id, serial: renewing?.serial, origin: renewing?.origin, node },
    code,
  );
  for (const each of proven.exclusive) deps.agents.claim(each, hello.instance);
  const issued = await issue({ ...earned, ...node, key, succeeds: old?.serial }, deps);
  deps.agents.proved({ ...node, attributes: proven.attributes });
  if (old !== undefined)
    deps.successions.add({ old: old.serial, next: issued.serial, until: old.notAfter, node });
  await written;
  return issuedMessage(issued, earned.id, deps);
}

interface Attested {
  readonly proven: Proven;
  /** Resolves when the audit log has the attestation. Later writes reach the disk with it or after it. */
  readonly written: Promise<void>;
}

/** Draws a nonce for this stream, which its one answer consumes. */
async function attest(
  attestors: readonly Attestor[],
  hello: Hello,
  key: ProvenKey,
  { stream, deps }: { stream: ExchangeStream; deps: ExchangeDeps },
): Promise<Attested> {
  const nonce = deps.nonces.draw();
  const seen = createHash('sha256').update(hello.evidence);
  try {
    const proven = await prove(attestors, hello.evidence, turnOf(nonce, key, { stream, deps, seen }));
    const { platform, node, attributes } = proven;
    deps.log.info({ platform, node, attributes }, 'attested');
    const evidence = seen.digest('hex');
    // Not awaited here, since a join would wait for the disk twice.
    const written = deps.store.append({ type: 'node.attested', platform, node, attributes, evidence });
    written.catch(() => {});
    return { proven, written };
  } finally {
    nonce.release();
  }
}

interface TurnParts {
  readonly stream: ExchangeStream;
  readonly deps: ExchangeDeps;
  /** Hashes the agent's messages, so that the audit log can name them without keeping them. */
  readonly seen: { update(bytes: Uint8Array): unknown };
}

function turnOf(nonce: Nonce, key: ProvenKey, { stream, deps, seen }: TurnParts): Turn {
  return {
    now: () => deps.clock.now(),
    key,
    binding: attestationBinding(deps.trustDomain, nonce.bytes, key.spki),
    peer: peerOf(stream.caller),
    challenge: async (question) => {
      await stream.send({
        message: {
          $case: 'challenge',
          value: { nonce: asBuffer(nonce.bytes), question: asBuffer(question) },
        },
      });
      const answer = (await stream.read(NONCE_SECONDS))?.message;
      ensure(
        answer?.$case === 'evidence',
        'out_of_order',
        `expected evidence, found ${answer?.$case ?? 'nothing'}`,
      );
      nonce.consume(answer.value.nonce);
      seen.update(answer.value.evidence);
      return answer.value.evidence;
    },
  };
}

const peerOf = (caller: Caller) => (caller.via === 'tls' ? undefined : caller.peer);

/** A renewal must be of the node that the certificate was issued to. */
function ensureSameNode(renewing: RecordedIssuance, node: Node): void {
  const same = renewing.platform === node.platform && renewing.node === node.node;
  ensure(same, 'ek_changed', `${renewing.id} was given to ${nodeName(renewing)}, not ${nodeName(node)}`);
}

/** Does not check whether another node holds the key: the store does, when it records the certificate. */
function ensureFreshKey(key: ProvenKey, earned: Earned, renewing: RecordedIssuance | undefined): void {
  const kept = renewing !== undefined && hex(renewing.keySha256) === hex(key.sha256);
  ensure(
    !kept || earned.keyReuse,
    'key_reuse',
    `${earned.identity} does not allow a renewal to keep its key`,
  );
}

/** Times are seconds since 1970. `now` is the CA's clock, so that an agent notices when its own is wrong. */
export function issuedMessage(issued: IssuedSvid, id: SpiffeId, { authorities, clock }: IssueDeps): Issued {
  return {
    chain: issued.chain.map((der) => asBuffer(der)),
    bundle: authorities.bundle.current().authorities.map((der) => asBuffer(der)),
    notAfter: BigInt(issued.notAfter.getTime() / 1000),
    renewAfter: unixSeconds(issued.renewAfter),
    spiffeId: id,
    now: unixSeconds(clock.now()),
  };
}
