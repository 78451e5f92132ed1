import type { Policy } from '@chancery/shared/policy/policy.ts';
import { beforeEach, expect, test } from 'vitest';
import { policyFor, STRANGER, TRIAGE } from '../../../../test/kit/mcp/world/world.ts';
import { Listeners } from './listeners.ts';

const allowing = (...allow: string[]): Policy => policyFor(1, { allow });
const old = allowing('echo');
const session = {};

let listeners: Listeners;
let told: string[];
let judged: bigint[];
beforeEach(() => {
  listeners = new Listeners('everything');
  told = [];
  judged = [];
});
const listen = (of: object | undefined, policy: Policy, caller = TRIAGE): (() => void) =>
  listeners.add({ who: { caller }, session: of }, policy, {
    tell: ({ method }) => void told.push(method),
    judgeAgain: ({ version }) => void judged.push(version),
  });
const CHANGED = 'notifications/tools/list_changed';

test('a listening client is notified once when a policy changes its list', () => {
  listen(session, old);
  listen(session, old, STRANGER);
  listeners.policyChanged(allowing('echo'));
  expect(told).toEqual([]);
  listeners.policyChanged(allowing('other'));
  listeners.policyChanged(allowing('other'));
  expect(told).toEqual([CHANGED]);
  expect(judged).toHaveLength(6);
});

test('a client that does not listen any more is not told', () => {
  const stop = listen(session, old);
  stop();
  listeners.policyChanged(allowing('other'));
  expect(told).toEqual([]);
});

test('a change before the first stream of a session is sent on that stream', () => {
  listeners.begun(session, { caller: TRIAGE }, old);
  listen(session, allowing('other'));
  expect(told).toEqual([CHANGED]);
});

test('a change between two streams of a session is sent on the second, and only once', () => {
  listen(session, old)();
  listeners.begun(session, { caller: TRIAGE }, old);
  listen(session, allowing('other'))();
  listen(session, allowing('other'));
  expect(told).toEqual([CHANGED]);
});

test('a client without a session knows what it was told when it began to listen', () => {
  listen(undefined, allowing('other'));
  expect(told).toEqual([]);
  listeners.policyChanged(old);
  expect(told).toEqual([CHANGED]);
});
