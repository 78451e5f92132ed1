import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Notification } from '@chancery/shared/mcp/message.ts';
import { describe, expect, test } from 'vitest';
import { type Hearing, told, toldOfRequest, toldOnStream } from './told.ts';

const ALL: Hearing = {
  ...{
    mayLog: () => true,
    mayHear: () => true,
    mayFollow: () => true,
    mayList: () => true,
    mayAsk: () => true,
  },
};
const NONE: Hearing = {
  ...{ mayLog: () => false, mayHear: () => false, mayFollow: () => false, mayAsk: () => false },
  mayList: (listed) => listed === 'tool',
};
const notification = (method: string, params?: JsonObject): Notification => ({
  kind: 'notification',
  method,
  params,
});
const LISTS = ['tools', 'resources', 'prompts'].map((each) => `notifications/${each}/list_changed`);
const UPDATED = 'notifications/resources/updated';
const URIS = ['a:b'];
const updated = notification(UPDATED, { uri: 'a:b', title: 'x' });

describe('told', () => {
  test.each<[string, boolean]>([
    ['notifications/cancelled', true],
    ['notifications/progress', true],
    ...LISTS.map((each): [string, boolean] => [each, true]),
    ['notifications/message', false],
    [UPDATED, false],
  ])('a server may say %s: %s', (method, may) => {
    const message = notification(method);
    expect(told(message, ALL, URIS)).toEqual(may ? message : undefined);
  });

  test('of a list that the client may ask for, without more', () => {
    const says = LISTS.map((each) => notification(each, { hidden: 'x' }));
    expect(says.map((each) => told(each, ALL, [])?.params)).toEqual([undefined, undefined, undefined]);
    expect(says.map((each) => told(each, NONE, [])?.method)).toEqual([LISTS[0], undefined, undefined]);
  });

  test('of a resource that the client may read, where its session is subscribed', () => {
    expect(told(updated, ALL, URIS)?.params).toEqual({ uri: 'a:b' });
    expect(told(updated, ALL, [])).toBeUndefined();
    expect(told(updated, NONE, URIS)).toBeUndefined();
  });

  test.each<[whole: string, part: string, is: boolean]>([
    ['file:///srv/a', 'file:///srv/a', true],
    ['file:///srv/a', 'file:///srv/a/b', true],
    ['file:///srv/a/', 'file:///srv/a/b', true],
    ['file:///srv/a', 'file:///srv/a?b', true],
    ['note:', 'note:b', true],
    ['file:///srv/a', 'file:///srv/ab', false],
    ['file:///srv/a', 'file:///srv', false],
    ['file:///srv/a/', 'file:///srv/a', false],
    ['file:///srv/a', 'file:///srv/b', false],
  ])('of %s a change of %s: %s', (whole, uri, is) => {
    const change = notification(UPDATED, { uri });
    expect(told(change, ALL, ['x:y', whole]) !== undefined).toBe(is);
    expect(toldOnStream(1, change, { lists: [], uris: [whole] }, ALL) !== undefined).toBe(is);
  });

  test('a server may log at the levels that a rule lets pass', () => {
    const log = (level: unknown): Notification =>
      notification('notifications/message', { level, data: 'x' } as JsonObject);
    const hearing = { ...NONE, mayLog: (each: string) => each === 'error' };
    for (const tell of [told, toldOfRequest]) {
      const passes = (level: unknown) => tell(log(level), hearing, []) !== undefined;
      expect(['error', 'debug', 7, undefined].map(passes)).toEqual([true, false, false, false]);
    }
  });

  test('a modern request that is no subscription gets no changes', () => {
    for (const message of [...LISTS.map((each) => notification(each)), updated])
      expect(toldOfRequest(message, ALL)).toBeUndefined();
    expect(toldOfRequest(notification('notifications/progress'), ALL)).toBeDefined();
  });

  test('a subscription carries only what was agreed, of what the client may have now, under its id', () => {
    const says = [...LISTS.map((each) => notification(each, { hidden: 'x' })), updated];
    const on = (agreed: Parameters<typeof toldOnStream>[2], hearing = ALL) =>
      says.map((each) => toldOnStream(7, each, agreed, hearing)?.method);
    const [tools, resources, prompts] = LISTS;
    expect(on({ lists: ['tool', 'prompt'], uris: [] })).toEqual([tools, undefined, prompts, undefined]);
    expect(on({ lists: ['resource'], uris: ['a:'] })).toEqual([undefined, resources, undefined, UPDATED]);
    const all = { lists: ['tool', 'resource', 'prompt'], uris: ['a:b'] } as const;
    expect(on(all, NONE)).toEqual([tools, undefined, undefined, undefined]);
    const _meta = { 'io.modelcontextprotocol/subscriptionId': 7 };
    expect(toldOnStream(7, updated, all, ALL)?.params).toEqual({ uri: 'a:b', _meta });
    expect(toldOnStream(7, notification(tools ?? '', { hidden: 'x' }), all, ALL)?.params).toEqual({ _meta });
    expect(toldOnStream(7, notification('notifications/progress'), all, ALL)).toBeUndefined();
  });
});

test('a server tells that what it asked for by URL has ended, where a rule lets it ask so', () => {
  const ended = notification('notifications/elicitation/complete');
  const byUrl = { ...NONE, mayAsk: (asks: string) => asks === 'elicitation-url' };
  for (const tell of [told, toldOfRequest])
    expect([tell(ended, byUrl, []), tell(ended, NONE, [])]).toEqual([ended, undefined]);
});
