/** The Operator service: the operator's verbs over gRPC, for kernel-verified peers of the admin socket. */
import type {
  ApplyRequest,
  ApplyResponse,
  ExplainRequest,
  ExplainResponse,
  ListResourcesRequest,
  ListResourcesResponse,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { LiveAgent } from '../../agents/agents.ts';
import type { Operator } from '../../operator/operator.ts';
import type { ApplyOrder, ChangeReport, ExplainQuery } from '../../operator/resources.ts';
import type { Change } from '../../registry/diff.ts';
import { callOf, type Explanation } from '../../registry/explain.ts';
import type { VersionedSet } from '../../registry/registry.ts';
import { keyOf, MAX_SET_BYTES } from '../../registry/resources.ts';
import type { RecordedIssuance } from '../../store/store.ts';
import { askerOf } from '../caller.ts';
import { bidi, type Stream, unary } from '../methods.ts';
import { auditMethods } from './audit.ts';
import { backupMethods } from './backup.ts';
import { offlineMethods } from './offline.ts';
import { reviewMethods } from './review.ts';
import { revokeMethods, unacknowledgedMessage } from './revoke.ts';
import { rotateMethods } from './rotate.ts';
import { servingMethods } from './serving.ts';
import { taintMethods } from './taint.ts';

export interface OperatorDeps {
  readonly operator: Operator;
}

const MAX_WARNINGS = 100;
/** The longest pause between two messages of a set. */
const NEXT_SECONDS = 30;
/** Changes in one message, with diffs of at most this length. */
const MAX_TOLD = 16;
const MAX_DIFF = 64 * 1024;
/** A larger resource has a page of its own. */
const PAGE_BYTES = 1024 * 1024;

/** A caller without the role is refused before its request is read. */
export function operatorMethods({ operator }: OperatorDeps) {
  return [
    bidi('Apply', OperatorService.apply, async (stream) => {
      const apply = operator.apply(askerOf(stream.caller));
      await tell(stream, await apply.of(() => readSet(stream)));
    }),
    bidi('Diff', OperatorService.diff, async (stream) => {
      const diff = operator.diff(askerOf(stream.caller));
      await tell(stream, await diff.of(() => readSet(stream)));
    }),
    unary('Explain', OperatorService.explain, async (request, caller) => {
      const explain = operator.explain(askerOf(caller));
      return message(await explain(queryOf(request)));
    }),
    unary('ListResources', OperatorService.listResources, async (request, caller) =>
      page(await operator.resources(askerOf(caller))(undefined), request),
    ),
    unary('ListAgents', OperatorService.listAgents, async (_, caller) => {
      const { connected, away, awayCount, atLeast, current } = await operator.agents(askerOf(caller))(
        undefined,
      );
      return {
        agents: connected.map(agentMessage),
        current,
        away: away.map(({ id, platform, node, revoked }) => ({ spiffeId: id, platform, node, revoked })),
        awayCount: BigInt(awayCount),
        awayAtLeast: atLeast,
      };
    }),
    unary('ListIssued', OperatorService.listIssued, async ({ limit, spiffeId }, caller) => {
      const issued = operator.issued(askerOf(caller));
      const id = spiffeId === '' ? undefined : parseSpiffeId(spiffeId);
      return { issued: (await issued({ id, limit })).map(issuedMessage) };
    }),
    ...revokeMethods(operator),
    ...auditMethods(operator),
    ...backupMethods(operator),
    ...servingMethods(operator),
    ...reviewMethods(operator),
    ...rotateMethods(operator),
    ...taintMethods(operator),
    ...offlineMethods(operator),
  ] as const;
}

type ApplyStream = Stream<ApplyRequest, ApplyResponse>;

/** Reads until the caller's end. Throws deadline, message_size. */
async function readSet(stream: ApplyStream): Promise<ApplyOrder> {
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

async function tell(stream: ApplyStream, report: ChangeReport): Promise<void> {
  const { changes, warnings, version, losses, unacknowledged, digest = '' } = report;
  const told = changes.map(changeMessage);
  const more = { version: 0n, warnings: [], losses: [], unacknowledged: undefined, digest: '' };
  while (told.length > MAX_TOLD) await stream.send({ changes: told.splice(0, MAX_TOLD), ...more });
  await stream.send({
    changes: told,
    version: BigInt(version),
    warnings: warnings.slice(0, MAX_WARNINGS),
    losses: losses.slice(0, MAX_WARNINGS).map(lossMessage),
    unacknowledged: unacknowledged && unacknowledgedMessage(unacknowledged),
    digest,
  });
}

function lossMessage({ id, agents, count, connected, ...loss }: ChangeReport['losses'][number]) {
  const nodes = agents.map(nodeName);
  return { ...loss, spiffeId: id, agents: BigInt(count), connected: BigInt(connected), nodes };
}

function changeMessage({ change, kind, name, diff }: Change) {
  const left = diff.length - MAX_DIFF;
  const cut = left > 0 ? `${diff.slice(0, MAX_DIFF)}\n… and ${left} more characters` : diff;
  return { change, kind, name, diff: cut };
}

function page(
  { resources, version }: Pick<VersionedSet, 'resources' | 'version'>,
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

/** Throws message_parse, spiffe_id, resource. */
function queryOf({ about }: ExplainRequest): ExplainQuery {
  ensure(about !== undefined, 'message_parse', 'explain needs facts or a call');
  if (about.$case === 'facts') return { kind: 'facts', facts: about.value };
  return { kind: 'call', call: callOf(about.value) };
}

const message = ({ spiffeIds, lines, ...rest }: Explanation): ExplainResponse => ({
  ...rest,
  spiffeIds: [...spiffeIds],
  lines: [...lines],
});

function agentMessage(agent: LiveAgent) {
  return {
    spiffeId: agent.id,
    address: agent.address,
    version: agent.version,
    connectedAt: unixSeconds(agent.connectedAt),
    certificateNotAfter: unixSeconds(agent.certificateNotAfter),
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
    notBefore: unixSeconds(issued.notBefore),
    notAfter: unixSeconds(issued.notAfter),
    recordedAt: unixSeconds(issued.recordedAt),
  };
}
