import { expect, test } from 'vitest';
import type { JsonObject } from '../ground/json.ts';
import { askedTask, createdIn, narrowCreated, narrowTask, statusIn, taskIdOf } from './tasks.ts';

const about = (params: JsonObject) => ({ kind: 'request', id: 1, method: 'tasks/get', params }) as const;

test('the id of a task is a text of at most 256 characters', () => {
  expect(taskIdOf(about({ taskId: 'a', _meta: {} }))).toBe('a');
  expect(taskIdOf(about({ taskId: 'a'.repeat(256) }))).toHaveLength(256);
  for (const params of [
    {},
    { taskId: '' },
    { taskId: 7 },
    { taskId: 'a'.repeat(257) },
    { taskId: '\ud800' },
    { taskId: 'a', more: 1 },
  ])
    expect(() => taskIdOf(about(params))).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
});

test('a client asks for a time to live and nothing else', () => {
  expect([askedTask({}), askedTask({ ttl: 5 })]).toEqual([{}, { ttl: 5 }]);
  for (const asked of [null, [], 'x', { ttl: '5' }, { ttl: -1 }, { id: 'a' }])
    expect(() => askedTask(asked)).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
});

test('what a server made is a task, or the result of the call', () => {
  const task = { taskId: 'a', status: 'working', ttl: 5, hidden: 'x' };
  expect(createdIn({ task })).toEqual({ id: 'a', ttl: 5 });
  expect(createdIn({ task: { taskId: 'a', ttl: null } })).toEqual({ id: 'a', ttl: undefined });
  expect(narrowCreated({ task, hidden: 'x' })).toEqual({ task: { taskId: 'a', status: 'working', ttl: 5 } });
  const result = { content: [], own: 1 };
  expect([createdIn(result), narrowCreated(result)]).toEqual([undefined, result]);
  expect(() => createdIn({ task: {} })).toThrow(/has no id/);
});

test('a state is of the task that was asked about', () => {
  expect(narrowTask({ taskId: 'a', status: 'failed', hidden: 'x' }, 'a')).toEqual({
    taskId: 'a',
    status: 'failed',
  });
  expect(() => narrowTask({ taskId: 'b' }, 'a')).toThrow(/about another task/);
  expect(() => narrowTask({}, 'a')).toThrow(/about another task/);
});

test('a notification says which task it is about', () => {
  const say = (params: JsonObject | undefined) =>
    statusIn({ kind: 'notification', method: 'notifications/tasks/status', params });
  expect(say({ taskId: 'a', status: 'failed', hidden: 'x' })).toMatchObject({
    id: 'a',
    said: { params: { taskId: 'a', status: 'failed' } },
  });
  expect([say(undefined), say({}), say({ taskId: 7 })]).toEqual([undefined, undefined, undefined]);
});
