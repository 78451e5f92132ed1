/** `explain`: why facts earn a SPIFFE ID, or a call is allowed: by the running CA's resources, or by files, offline. */

import type { ExplainRequest } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { type Command, type Invocation, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { sentence, sentencesOf } from '@chancery/shared/config/schema.ts';
import { utf8Text } from '@chancery/shared/ground/bytes.ts';
import { IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { z } from 'zod';
import { callOf, type Explanation, explainCall, explainFacts } from '../../registry/explain.ts';
import type { ResourceSet } from '../../registry/resources.ts';
import { FILE_FLAG, setInFiles } from '../files.ts';
import { OPERATOR_FLAGS, printJson } from '../flags.ts';
import { callOperator } from './admin.ts';

export const explain: Command = {
  says: 'Says which SPIFFE ID facts earn, or whether a tool call is allowed, and by which rule. Exits 1 for a no.',
  flags: {
    facts: {
      type: 'string',
      value: 'FILE',
      says: 'Facts, as the line "attested" of the CA\'s log has them: JSON with platform and attributes.',
    },
    platform: { type: 'string', value: 'NAME', says: 'Facts: the attestor; several joined by "+".' },
    attribute: {
      type: 'string',
      short: 'a',
      multiple: true,
      value: 'NAME=VALUE',
      says: 'Facts: an attribute; repeatable.',
    },
    caller: { type: 'string', value: 'SPIFFE-ID', says: 'Call: who calls.' },
    server: { type: 'string', value: 'NAME', says: 'Call: the McpServer.' },
    tool: { type: 'string', value: 'NAME', says: 'Call: the tool.' },
    args: { type: 'string', value: 'JSON', says: 'Call: its arguments, an object, for conditions on them.' },
    file: {
      ...FILE_FLAG.file,
      says: 'Resources to use instead of those in force, without a running CA; repeatable.',
    },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const about = question(invocation);
    const answer =
      invocation.texts('file').length > 0
        ? explainBy(await setInFiles(invocation, io), about, new Date())
        : await callOperator(invocation, (client) => client.explain, { about });
    if (invocation.has('json')) printJson(io, answer);
    else io.out(`${answer.allow ? 'yes' : 'no'}: ${answer.lines.join('\n     ')}\n`);
    return answer.allow ? 0 : 1;
  },
};

type About = NonNullable<ExplainRequest['about']>;

function explainBy(set: ResourceSet, about: About, now: Date): Explanation {
  if (about.$case === 'facts') return explainFacts(set, about.value, now);
  return explainCall(set, callOf(about.value), now);
}

function question(invocation: Invocation): About {
  const [file, platform, caller] = ['facts', 'platform', 'caller'].map((flag) => invocation.text(flag));
  if ([file, platform, caller].filter((given) => given !== undefined).length !== 1)
    throw new MisuseError(
      'give one of --facts, --platform with --attribute, or --caller with --server and --tool',
    );
  if (file !== undefined) return { $case: 'facts', value: readFacts(file) };
  if (platform !== undefined) {
    const attributes = Object.fromEntries(invocation.texts('attribute').map(pairOf));
    return { $case: 'facts', value: { platform, attributes } };
  }
  const [server, tool] = [invocation.text('server'), invocation.text('tool')];
  if (caller === undefined || server === undefined || tool === undefined)
    throw new MisuseError('a call needs --caller, --server and --tool');
  const call = { caller, server, tool, arguments: invocation.text('args') ?? '' };
  callOf(call);
  return { $case: 'call', value: call };
}

/** A line of the log has more fields; only these two say what was proven. */
const SavedFacts = z.object({ platform: z.string(), attributes: z.record(z.string(), z.string()) });

function readFacts(file: string): z.infer<typeof SavedFacts> {
  const read = SavedFacts.safeParse(jsonIn(file), { error: sentence });
  if (read.success) return read.data;
  const expected = 'expected JSON such as {"platform": "tpm", "attributes": {"tpm.ek": "…"}}';
  throw new IdentityError('file', `${file}: ${expected}; ${sentencesOf(read.error)}`);
}

/** A line of the log, which is shorter. */
const MAX_FACTS_BYTES = 1024 * 1024;

function jsonIn(file: string): unknown {
  const reading = { maxBytes: MAX_FACTS_BYTES, code: 'file' } as const;
  const text = inFile(file, 'file', () => utf8Text(readWholeFile(file, reading), 'file'));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refusalOf(error, 'file', `${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function pairOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new MisuseError(`--attribute ${text}: expected NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
