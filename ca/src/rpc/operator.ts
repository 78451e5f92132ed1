/** The Operator service: on the admin socket, for root and the CA's own user, by peer credentials. */
import type {
  ApplyRequest,
  ApplyResponse,
  ExplainResponse,
  ListResourcesRequest,
  ListResourcesResponse,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { nodeName } from '@chancery/shared/evidence/several.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { LiveAgent } from '../agents/agents.ts';
import { type CertifiedAgent, type Loss, lossesOf } from '../impact/losses.ts';
import type { Change } from '../registry/diff.ts';
import { type Explanation, explainCall, explainFacts } from '../registry/explain.ts';
import type { Applied, ApplyOptions, Registry, VersionedSet } from '../registry/registry.ts';
import { keyOf, MAX_SET_BYTES, type ResourceFile } from '../registry/resources.ts';
import { OWN_HOLDER } from '../revocation/revocations.ts';
import type { AgentStore, CertificateStore, RecordedIssuance } from '../store/store.ts';
import { ensureOperator } from './caller.ts';
import { bidi, type Stream, unary } from './methods.ts';
import { type RevokeDeps, revokeMethods } from './revoke.ts';

export interface OperatorDeps extends RevokeDeps {
  readonly registry: Registry;
  readonly store: AgentStore & Pick<CertificateStore, 'issued'>;
  readonly clock: Clock;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_WARNINGS = 100;
const MAX_NODES = 10;
/** Between two messages of a set. */
const NEXT_SECONDS = 30;
/** Of one message; with diffs of this length at most. */
const MAX_TOLD = 16;
const MAX_DIFF = 64 * 1024;
/** A larger resource has a page of its own. */
const PAGE_BYTES = 1024 * 1024;

export function operatorMethods(deps: OperatorDeps) {
  const { registry, store, agents, ownUid } = deps;
  return [
    bidi('Apply', OperatorService.apply, async (stream) => {
      const by = ensureOperator(stream.caller, ownUid);
      const { files, dryRun, how } = await readSet(stream);
      await tell(stream, await (dryRun ? registry.diff(files, how) : registry.apply(files, by, how)), deps);
    }),
    bidi('Diff', OperatorService.diff, async (stream) => {
      ensureOperator(stream.caller, ownUid);
      const { files, how } = await readSet(stream);
      await tell(stream, await registry.diff(files, how), deps);
    }),
    unary('Explain', OperatorService.explain, async ({ about }, caller): Promise<ExplainResponse> => {
      ensureOperator(caller, ownUid);
      ensure(about !== undefined, 'message_parse', 'explain needs facts or a call');
      const set = registry.sets.current();
      if (about.$case === 'facts') {
        const explained = explainFacts(set, about.value);
        const ids = explained.spiffeIds.map(parseSpiffeId);
        return message(unlessRevoked(explained, ids[0], deps));
      }
      const { server, tool } = about.value;
      const id = parseSpiffeId(about.value.caller);
      return message(unlessRevoked(explainCall(set, { caller: id, server, tool }), id, deps));
    }),
    unary('ListResources', OperatorService.listResources, async (request, caller) => {
      ensureOperator(caller, ownUid);
      return page(registry.sets.current(), request);
    }),
    unary('ListAgents', OperatorService.listAgents, async (_, caller) => {
      ensureOperator(caller, ownUid);
      return { agents: agents.list().map(agentMessage) };
    }),
    unary('ListIssued', OperatorService.listIssued, async ({ limit, spiffeId }, caller) => {
      ensureOperator(caller, ownUid);
      ensure(limit <= MAX_LIMIT, 'message_parse', `limit is ${limit}, at most ${MAX_LIMIT}`);
      const id = spiffeId === '' ? {} : { id: parseSpiffeId(spiffeId) };
      const issued = await store.issued({ limit: limit === 0 ? DEFAULT_LIMIT : limit, ...id });
      return { issued: issued.map(issuedMessage) };
    }),
    ...revokeMethods(deps),
  ] as const;
}

type ApplyStream = Stream<ApplyRequest, ApplyResponse>;

/** Until the caller's end. Throws deadline, message_size. */
async function readSet(stream: ApplyStream): Promise<{
  readonly files: readonly ResourceFile[];
  readonly dryRun: boolean;
  readonly how: ApplyOptions;
}> {
  const files: { name: string; text: string }[] = [];
  const first = await stream.read(NEXT_SECONDS);
  let [bytes, continues] = [0, false];
  for (let message = first; message !== undefined; message = await stream.read(NEXT_SECONDS))
    for (const { name, text, ...file } of message.files) {
      bytes += Buffer.byteLength(text);
      ensure(bytes <= MAX_SET_BYTES, 'message_size', `the set has more than ${MAX_SET_BYTES} bytes of text`);
      const last = files.at(-1);
      if (continues && last !== undefined) last.text += text;
      else files.push({ name, text });
      ({ continues } = file);
    }
  ensure(first !== undefined && !continues, 'message_parse', 'the set is not whole');
  return { files, dryRun: first.dryRun, how: first };
}

/** A prefix of every SPIFFE ID. */
const ANYBODY = { kind: 'pattern', value: '*' } as const;

/** What the connected agents hold, and who holds an unexpired certificate beside them. */
async function affected({ agents, store, clock }: OperatorDeps): Promise<readonly CertifiedAgent[]> {
  const connected = agents.list();
  const keyOf = ({ id, platform, node }: CertifiedAgent): string => JSON.stringify([id, platform, node]);
  const others = new Map<string, CertifiedAgent>();
  // The newest comes last.
  for (const { id, identity, holder } of await store.certified(clock.now(), ANYBODY))
    if (holder.platform !== OWN_HOLDER.platform)
      others.set(keyOf({ id, identity, ...holder }), { id, identity, ...holder });
  for (const each of connected) others.delete(keyOf(each));
  return [...connected, ...others.values()];
}

async function tell(stream: ApplyStream, applied: Applied, deps: OperatorDeps): Promise<void> {
  const { agents } = deps;
  const { changes, warnings, version } = applied;
  const all = changes.length === 0 ? [] : await affected(deps);
  const losses = await lossesOf(applied, all, (agent) => agents.factsOf(agent));
  const connected = new Set<CertifiedAgent>(agents.list());
  const told = changes.map(changeMessage);
  while (told.length > MAX_TOLD)
    await stream.send({ changes: told.splice(0, MAX_TOLD), version: 0n, warnings: [], losses: [] });
  await stream.send({
    changes: told,
    version: BigInt(version),
    warnings: warnings.slice(0, MAX_WARNINGS),
    losses: losses.slice(0, MAX_WARNINGS).map((loss) => lossMessage(loss, connected)),
  });
}

function lossMessage({ id, agents, ...loss }: Loss, live: ReadonlySet<CertifiedAgent>) {
  const nodes = agents.slice(0, MAX_NODES).map(nodeName);
  const connected = BigInt(agents.filter((each) => live.has(each)).length);
  return { ...loss, spiffeId: id, agents: BigInt(agents.length), connected, nodes };
}

function changeMessage({ change, kind, name, diff }: Change) {
  const left = diff.length - MAX_DIFF;
  const cut = left > 0 ? `${diff.slice(0, MAX_DIFF)}\n… and ${left} more characters` : diff;
  return { change, kind, name, diff: cut };
}

function page(
  { resources, version }: VersionedSet,
  { kind, name, after }: ListResourcesRequest,
): ListResourcesResponse {
  const wanted = resources.filter(
    (each) =>
      (kind === '' || each.kind === kind) && (name === '' || each.name === name) && keyOf(each) > after,
  );
  const told: string[] = [];
  let bytes = 0;
  for (const each of wanted) {
    const text = JSON.stringify(each);
    bytes += Buffer.byteLength(text);
    if (bytes > PAGE_BYTES && told.length > 0) break;
    told.push(text);
  }
  const last = wanted[told.length - 1];
  const next = told.length < wanted.length && last !== undefined ? keyOf(last) : '';
  return { version: BigInt(version), resources: told, next };
}

/** The CA does not issue to, nor a gateway ask the rules about, whom the operator has cut off. */
function unlessRevoked(
  explained: Explanation,
  id: SpiffeId | undefined,
  { revocations }: RevokeDeps,
): Explanation {
  if (id === undefined) return explained;
  try {
    revocations.ensureGood({ id }, 'revoked_peer');
    return explained;
  } catch (error) {
    if (!isRefusal(error, 'revoked_peer')) throw error;
    return { ...explained, allow: false, lines: [...explained.lines, `but it is revoked: ${error.message}`] };
  }
}

const message = ({ spiffeIds, lines, ...rest }: Explanation): ExplainResponse => ({
  ...rest,
  spiffeIds: [...spiffeIds],
  lines: [...lines],
});

const seconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

function agentMessage(agent: LiveAgent) {
  return {
    spiffeId: agent.id,
    address: agent.address,
    version: agent.version,
    connectedAt: seconds(agent.connectedAt),
    certificateNotAfter: seconds(agent.certificateNotAfter),
    acknowledgedSequence: agent.acknowledged,
    serial: agent.serial,
  };
}

function issuedMessage(issued: RecordedIssuance) {
  const { serial, id, platform, node, identity } = issued;
  return {
    serial,
    spiffeId: id,
    platform,
    node,
    identity,
    notBefore: seconds(issued.notBefore),
    notAfter: seconds(issued.notAfter),
    recordedAt: seconds(issued.recordedAt),
  };
}
