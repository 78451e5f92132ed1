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
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Parts } from '../agents/acknowledged.ts';
import type { CertifiedAgent, LiveAgent } from '../agents/agents.ts';
import { holdersOf, unacknowledged } from '../agents/holders.ts';
import type { Authorities } from '../authority/authorities.ts';
import { type Loss, lossesOf } from '../impact/losses.ts';
import type { Change } from '../registry/diff.ts';
import { type Explanation, explainCall, explainFacts } from '../registry/explain.ts';
import type { Applied, ApplyOptions, Registry, VersionedSet } from '../registry/registry.ts';
import { keyOf, MAX_SET_BYTES, type ResourceFile } from '../registry/resources.ts';
import type { AgentStore, CertificateStore, RecordedIssuance } from '../store/store.ts';
import { ensureOperator } from './caller.ts';
import { bidi, type Stream, unary } from './methods.ts';
import { type RevokeDeps, revokeMethods, unacknowledgedMessage } from './revoke.ts';

export interface OperatorDeps extends RevokeDeps {
  readonly registry: Registry;
  readonly authorities: Authorities;
  readonly store: AgentStore & Pick<CertificateStore, 'issued'>;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_WARNINGS = 100;
const MAX_NODES = 10;
const MAX_AWAY = 1000;
/** Between two messages of a set. */
const NEXT_SECONDS = 30;
/** Of one message; with diffs of this length at most. */
const MAX_TOLD = 16;
const MAX_DIFF = 64 * 1024;
/** A larger resource has a page of its own. */
const PAGE_BYTES = 1024 * 1024;

export function operatorMethods(deps: OperatorDeps) {
  const { registry, store, ownUid } = deps;
  return [
    bidi('Apply', OperatorService.apply, async (stream) => {
      const by = ensureOperator(stream.caller, ownUid);
      const { files, dryRun, how } = await readSet(stream);
      const applied = await (dryRun ? registry.diff(files, how) : registry.apply(files, by, how));
      await tell(stream, applied, deps, { dryRun });
    }),
    bidi('Diff', OperatorService.diff, async (stream) => {
      ensureOperator(stream.caller, ownUid);
      const { files, how } = await readSet(stream);
      await tell(stream, await registry.diff(files, how), deps, { dryRun: true });
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
      const { connected, away } = await holdersOf(deps);
      return {
        agents: connected.map(agentMessage),
        current: currentParts(deps),
        away: away.slice(0, MAX_AWAY).map(({ id, platform, node }) => ({ spiffeId: id, platform, node })),
        awayCount: BigInt(away.length),
      };
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

async function tell(
  stream: ApplyStream,
  applied: Applied,
  deps: OperatorDeps,
  { dryRun }: { readonly dryRun: boolean },
): Promise<void> {
  const { changes, warnings, version } = applied;
  const holders = changes.length === 0 ? undefined : await holdersOf(deps);
  const { connected, away } = holders ?? { connected: [], away: [] };
  const losses = await lossesOf(applied, [...connected, ...away], (agent) => deps.agents.factsOf(agent));
  const live = new Set<CertifiedAgent>(connected);
  const told = changes.map(changeMessage);
  const more = { version: 0n, warnings: [], losses: [], unacknowledged: undefined };
  while (told.length > MAX_TOLD) await stream.send({ changes: told.splice(0, MAX_TOLD), ...more });
  await stream.send({
    changes: told,
    version: BigInt(version),
    warnings: warnings.slice(0, MAX_WARNINGS),
    losses: losses.slice(0, MAX_WARNINGS).map((loss) => lossMessage(loss, live)),
    unacknowledged:
      holders && !dryRun
        ? unacknowledgedMessage(unacknowledged(holders, { policy: BigInt(version) }))
        : undefined,
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

const currentParts = ({ authorities, registry, revocations }: OperatorDeps): Parts => ({
  bundle: authorities.bundle.current().sequence,
  policy: BigInt(registry.sets.current().version),
  revocations: revocations.sets.current().sequence,
});

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
    acknowledgedSequence: agent.acknowledged.sequence,
    acknowledged: agent.acknowledged.parts,
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
