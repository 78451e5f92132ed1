/** The Operator service: on the admin socket, for root and the CA's own user, by peer credentials. */
import type {
  ApplyRequest,
  ApplyResponse,
  ExplainResponse,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { ensure, isRefusal } from '@chancery/shared/errors.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Change } from '../registry/diff.ts';
import { type Explanation, explainCall, explainFacts } from '../registry/explain.ts';
import type { Applied, Registry } from '../registry/registry.ts';
import type { RecordedIssuance, Store } from '../store/store.ts';
import type { LiveAgent } from './agents.ts';
import { ensureOperator } from './caller.ts';
import { unary } from './handler.ts';
import { type RevokeDeps, revokeMethods } from './revoke.ts';

export interface OperatorDeps extends RevokeDeps {
  readonly registry: Registry;
  readonly store: Store;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_WARNINGS = 100;

export function operatorMethods(deps: OperatorDeps) {
  const { registry, store, agents, ownUid } = deps;
  return [
    unary('Apply', OperatorService.apply, async (request: ApplyRequest, caller): Promise<ApplyResponse> => {
      const by = ensureOperator(caller, ownUid);
      if (request.dryRun) return diff(request, registry);
      return appliedMessage(await registry.apply(request.files, by, request));
    }),
    unary('Diff', OperatorService.diff, async (request: ApplyRequest, caller) => {
      ensureOperator(caller, ownUid);
      return diff(request, registry);
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
    unary('ListResources', OperatorService.listResources, async ({ kind }, caller) => {
      ensureOperator(caller, ownUid);
      const { resources, version } = registry.sets.current();
      const wanted = resources.filter((each) => kind === '' || each.kind === kind);
      return { version: BigInt(version), resources: wanted.map((each) => JSON.stringify(each)) };
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

function diff(request: ApplyRequest, registry: Registry): ApplyResponse {
  const { version } = registry.sets.current();
  return appliedMessage({ ...registry.diff(request.files, request), version });
}

const appliedMessage = ({ changes, warnings, version }: Applied): ApplyResponse => ({
  changes: changes.map(changeMessage),
  version: BigInt(version),
  warnings: warnings.slice(0, MAX_WARNINGS),
});

const changeMessage = ({ change, kind, name, diff: text }: Change) => ({ change, kind, name, diff: text });

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
