/** `agents`, `issued`: what the running CA knows. */
import { type Command, MisuseError } from '@chancery/shared/cli.ts';
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
