/** What keeps one server, or one client, from what is not its own: each bound by itself. */
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { serverPart } from '@chancery/shared/mcp/union-name.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { expect, test } from 'vitest';
import { live, TOOLS } from '../../../../../test/kit/mcp/world/world.ts';
import type { Dialler } from '../dial.ts';
import { NOTHING } from './catalog.ts';
import { Changes } from './changes.ts';
import { pageOf } from './pages.ts';
import { Union } from './union.ts';

const ID_KEY = 'io.modelcontextprotocol/subscriptionId';

test('a client has at most 64 subscriptions, and one that ends makes room', async () => {
  const written: Message[] = [];
  const changes = new Changes({ clock: systemClock, write: (message) => written.push(message) > 0 });
  const first = new AbortController();
  const listen = (id: number, signal = AbortSignal.any([])) => {
    const params = { notifications: { toolsListChanged: true } };
    return changes.listen({ kind: 'request', id, method: 'subscriptions/listen', params }, signal);
  };
  const open = Array.from({ length: 64 }, (_, n) => listen(n, n === 0 ? first.signal : undefined));
  await expect(listen(64, AbortSignal.abort())).rejects.toMatchObject({
    code: 'rate',
    message: '64 subscriptions are open',
  });
  expect(written).toHaveLength(64);
  expect(written[3]).toEqual({
    kind: 'notification',
    method: 'notifications/subscriptions/acknowledged',
    params: { notifications: { toolsListChanged: true }, _meta: { [ID_KEY]: 3 } },
  });
  changes.changed(['prompts/list', 'tools/list']);
  expect(written.splice(64)).toHaveLength(64);
  first.abort();
  await open[0];
  const last = listen(65);
  expect(written).toHaveLength(65);
  changes.stop();
  expect(await last).toEqual({ _meta: { [ID_KEY]: 65 } });
  await Promise.all(open);
});

test('a page has at most 4 MiB of entries, or one entry', () => {
  const entry = (name: string, mebibytes: number) => ({
    name,
    description: 'x'.repeat(mebibytes * 1024 * 1024),
  });
  const entries = [entry('a', 2), entry('b', 1), entry('c', 2), entry('d', 5), entry('e', 0)];
  const pages: string[][] = [];
  let cursor: string | undefined;
  do {
    const page = pageOf('tools/list', [{ ...NOTHING, entries }], cursor);
    pages.push((page['tools'] as { name: string }[]).map(({ name }) => name));
    const next = page['nextCursor'];
    cursor = typeof next === 'string' ? next : undefined;
  } while (cursor !== undefined);
  expect(pages).toEqual([['a', 'b'], ['c'], ['d'], ['e']]);
});

test('servers that would be shown as one are left out, also one that was shown before', async () => {
  // Their digests begin with the same 32 bits.
  const twins = ['tools-of-a-team-00000d30d', 'tools-of-a-team-000027684'] as const;
  expect(new Set(twins.map(serverPart)).size).toBe(1);
  const policyOf = (version: bigint, ...names: string[]) =>
    compilePolicy(
      names.map((name) =>
        McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address: '127.0.0.1:1' }),
      ),
      version,
    );
  const policy = live(policyOf(1n, 'git', twins[0]));
  const [dialled, closed]: [string[], string[]] = [[], []];
  const dial = (server: string): Dialler =>
    ({
      ...{ server, send: () => () => {}, explain: async (error: unknown) => error },
      close: () => void closed.push(server),
    }) as unknown as Dialler;
  const written: Message[] = [];
  const union = new Union({
    policy,
    findTools: false,
    dial: (server) => {
      dialled.push(server);
      return dial(server);
    },
    clock: systemClock,
    log: silentLog,
    write: (message) => written.push(message) > 0,
    onDrain: () => {},
    full: () => false,
  });
  await union.send({ kind: 'request', id: 1, method: 'ping', params: undefined });
  expect(dialled.toSorted()).toEqual(['git', twins[0]]);
  policy.publish(policyOf(2n, 'git', ...twins));
  expect(dialled).toHaveLength(2);
  await expect.poll(() => closed).toEqual([twins[0]]);
  policy.publish(policyOf(3n, 'git', twins[1]));
  expect(dialled.at(-1)).toBe(twins[1]);
  await union.end();
});
