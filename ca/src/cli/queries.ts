/** `agents`, `issued`, `explain`: what the running CA knows and why it decides as it does. */

import type { ExplainRequest } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { type Command, type Invocation, MisuseError } from '@chancery/shared/cli.ts';
import { callOperator } from './admin.ts';
import { CONFIG_FLAG, instant, JSON_FLAG, printJson, printTable } from './flags.ts';

export const agents: Command = {
  says: 'Lists the agents whose trust stream is open.',
  flags: { ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const { agents: list } = await callOperator(invocation, (client) => client.listAgents, {});
    if (invocation.has('json')) printJson(io, list);
    else
      printTable(
        io,
        ['SPIFFE ID', 'ADDRESS', 'VERSION', 'CONNECTED', 'CERTIFICATE UNTIL', 'STATE SEEN'],
        list.map((each) => [
          each.spiffeId,
          each.address,
          each.version,
          instant(each.connectedAt),
          instant(each.certificateNotAfter),
          String(each.acknowledgedSequence),
        ]),
      );
    return 0;
  },
};

export const issued: Command = {
  says: 'Lists certificates, newest first.',
  flags: {
    id: { type: 'string', value: 'SPIFFE-ID', says: 'Only certificates of this SPIFFE ID.' },
    limit: { type: 'string', short: 'n', value: 'COUNT', says: 'How many, at most 1000 (default: 100).' },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const limit = Number(invocation.text('limit') ?? 100);
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
      throw new MisuseError('--limit is a number from 1 to 1000');
    const request = { limit, spiffeId: invocation.text('id') ?? '' };
    const { issued: list } = await callOperator(invocation, (client) => client.listIssued, request);
    if (invocation.has('json')) printJson(io, list);
    else
      printTable(
        io,
        ['SERIAL', 'SPIFFE ID', 'PLATFORM', 'IDENTITY', 'NOT BEFORE', 'NOT AFTER'],
        list.map((each) => [
          each.serial,
          each.spiffeId,
          each.platform,
          each.identity,
          instant(each.notBefore),
          instant(each.notAfter),
        ]),
      );
    return 0;
  },
};

export const explain: Command = {
  says: 'Says which SPIFFE ID facts earn, or whether a tool call is allowed, and by which rule. Exits 1 for a no.',
  flags: {
    platform: { type: 'string', value: 'NAME', says: 'Facts: the attestor.' },
    node: { type: 'string', value: 'NAME', says: 'Facts: the node (default: none).' },
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
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const answer = await callOperator(invocation, (client) => client.explain, {
      about: question(invocation),
    });
    if (invocation.has('json')) printJson(io, answer);
    else io.out(`${answer.allow ? 'yes' : 'no'}: ${answer.lines.join('\n     ')}\n`);
    return answer.allow ? 0 : 1;
  },
};

function question(invocation: Invocation): ExplainRequest['about'] {
  const [platform, caller] = [invocation.text('platform'), invocation.text('caller')];
  if ((platform === undefined) === (caller === undefined))
    throw new MisuseError('give either --platform and --attribute, or --caller, --server and --tool');
  if (platform !== undefined) {
    const attributes = Object.fromEntries(invocation.texts('attribute').map(pairOf));
    return { $case: 'facts', value: { platform, node: invocation.text('node') ?? '', attributes } };
  }
  const [server, tool] = [invocation.text('server'), invocation.text('tool')];
  if (caller === undefined || server === undefined || tool === undefined)
    throw new MisuseError('a call needs --caller, --server and --tool');
  return { $case: 'call', value: { caller, server, tool } };
}

function pairOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new MisuseError(`--attribute ${text}: expected NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
