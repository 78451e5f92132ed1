/** `apply`: makes the given resources the whole set in force, or shows what that would change. */
import type { AgentLoss, ApplyRequest, ApplyResponse } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  type Command,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import type { ResourceFile } from '../../registry/resources.ts';
import { waitedFor } from '../bar.ts';
import { FILE_FLAG, readFiles } from '../files.ts';
import { OPERATOR_FLAGS, printJson, printUnacknowledged, printWarnings, SHARED_IDS_FLAG } from '../flags.ts';
import { streamToOperator } from './admin.ts';

/** Text in one message. */
const CHUNK_BYTES = 1024 * 1024;

export const apply: Command = {
  says: 'Replaces the set in force by the given resources; removes all others.',
  flags: {
    ...FILE_FLAG,
    'dry-run': { type: 'boolean', says: 'Only show what would change.' },
    ...SHARED_IDS_FLAG,
    'prune-all': { type: 'boolean', says: 'Accept an empty set, which removes every resource.' },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    if (invocation.texts('file').length === 0) throw new MisuseError('-f is required');
    const files = await readFiles(invocation, io);
    const bytes = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    const call = () => streamToOperator(invocation, (client) => client.apply, messages(files, invocation));
    const answers = await waitedFor(io, `the CA reads ${(bytes / 1e6).toFixed(1)} MB of resources`, call);
    const answer: ApplyResponse = {
      changes: answers.flatMap(({ changes }) => changes),
      version: answers.at(-1)?.version ?? 0n,
      warnings: answers.flatMap(({ warnings }) => warnings),
      losses: answers.flatMap(({ losses }) => losses),
      unacknowledged: answers.at(-1)?.unacknowledged,
      digest: answers.at(-1)?.digest ?? '',
    };
    printWarnings(io, [...answer.warnings, ...answer.losses.map(lossSentence)]);
    if (invocation.has('json')) printJson(io, answer);
    else printChanges(io, answer, invocation.has('dry-run'));
    return 0;
  },
};

function* messages(files: readonly ResourceFile[], invocation: Invocation): Generator<ApplyRequest> {
  const flags = {
    dryRun: invocation.has('dry-run'),
    allowSharedServerIds: invocation.has('allow-shared-server-ids'),
    pruneAll: invocation.has('prune-all'),
  };
  let [chunk, bytes]: [ApplyRequest['files'], number] = [[], 0];
  for (const { name, text } of files)
    for (const part of partsOf(text)) {
      const size = Buffer.byteLength(part.text);
      if (bytes + size > CHUNK_BYTES) {
        yield { files: chunk, ...flags };
        [chunk, bytes] = [[], 0];
      }
      chunk.push({ name, ...part });
      bytes += size;
    }
  yield { files: chunk, ...flags };
}

/**
 * Parts of a quarter of the bound, since a UTF-16 unit is at most three bytes of UTF-8. Does not split surrogate pairs.
 */
function* partsOf(text: string): Generator<{ readonly text: string; readonly continues: boolean }> {
  let rest = text;
  while (rest.length > CHUNK_BYTES / 4) {
    const end = CHUNK_BYTES / 4;
    const at = /[\uD800-\uDBFF]/.test(rest.charAt(end - 1)) ? end - 1 : end;
    yield { text: rest.slice(0, at), continues: true };
    rest = rest.slice(at);
  }
  yield { text: rest, continues: false };
}

function lossSentence(loss: AgentLoss): string {
  const { spiffeId, what, name, certain, why, agents, nodes } = loss;
  const one = agents === 1n;
  const who = holdersOf(loss);
  const loses = certain ? (one ? 'loses' : 'lose') : 'may lose';
  const lost = what === 'server' ? `McpServer/${name}` : `${spiffeId} at the next renewal`;
  const of = what === 'server' ? ` of ${spiffeId}` : '';
  const unknown = certain ? '' : ', and this CA process has not seen the evidence of these agents yet';
  const more = agents > nodes.length ? `, and ${agents - BigInt(nodes.length)} more` : '';
  return `${who}${of} ${loses} ${lost}: ${why}${unknown} (${nodes.join(', ')}${more})`;
}

function holdersOf({ agents, connected }: AgentLoss): string {
  const some = (count: bigint): string => `${count} ${count === 1n ? 'agent' : 'agents'}`;
  if (connected === agents) return some(agents).replace(' ', ' connected ');
  const away = 'with an unexpired certificate, not connected,';
  return connected === 0n
    ? `${some(agents)} ${away}`
    : `${some(agents)}, ${agents - connected} of them ${away}`;
}

function printChanges(io: Io, answer: ApplyResponse, dryRun: boolean): void {
  const { changes, version, unacknowledged, digest } = answer;
  for (const { change, kind, name, diff } of changes) {
    io.out(`${change} ${kind}/${name}\n`);
    io.out(`${diff.replaceAll(/^/gm, '  ')}\n`);
  }
  const what =
    changes.length === 0
      ? 'nothing changes'
      : `${changes.length} ${changes.length === 1 ? 'change' : 'changes'}`;
  io.out(
    dryRun
      ? `${what}; version ${version} stays in force (dry run)\n`
      : `${what}; version ${version} is in force\n`,
  );
  if (digest !== '')
    io.out(`where two people are needed, the request for exactly this has sha256 ${digest}\n`);
  if (!dryRun && changes.length > 0) printUnacknowledged(io, unacknowledged);
}
