import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import type { Back } from '../upstream.ts';
import { commandUpstream } from './command.ts';

const caller = parseSpiffeId('spiffe://prod.example/a');
const script = 'read line; case "$line" in *crash*) exit 1;; esac; exec cat > /dev/null';
const target = { kind: 'command' as const, command: ['/bin/sh', '-c', script] as const, env: {} };

function back(fail: () => void, session: (name: string) => void = () => {}): Back {
  const nothing = (): void => {};
  return {
    ...{ session, answer: nothing, open: nothing, event: () => true, keepAlive: nothing, end: nothing },
    ...{ sent: nothing, onLost: nothing, answered: false, fail, cancelled: nothing },
    ...{ onDrain: nothing, onClose: nothing, holding: nothing, isCancelled: false },
  };
}

test('M59 a process that the gateway stops before it answered does not clear what was counted', async () => {
  const upstream = commandUpstream(target, silentLog);
  const send = (method: string, era: 'legacy' | 'modern', to: Back): void => {
    const message = { kind: 'request' as const, id: 1, method, params: undefined };
    upstream.send({ caller, era, message, session: undefined, headers: {} }, to);
  };
  const crash = () => new Promise<void>((resolve) => send('crash', 'modern', back(resolve)));
  await crash();
  await crash();
  const ended = Promise.withResolvers<string>();
  upstream.onSessionEnd(ended.resolve);
  const names: string[] = [];
  const begin = (): boolean => {
    try {
      send(
        'initialize',
        'legacy',
        back(
          () => {},
          (made) => void names.push(made),
        ),
      );
      return true;
    } catch {
      return false;
    }
  };
  await expect.poll(begin, { timeout: 20_000 }).toBe(true);
  upstream.forget(names[0] ?? '');
  expect([await ended.promise]).toEqual(names);
  await crash();
  await expect(crash()).rejects.toThrow('ended 3 times without an answer');
  await upstream.close();
});

/** Answers one request and ends. */
const once = `read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'`;
/** Stays when its input ends. */
const stubborn = `trap '' TERM; ${once}; exec sleep 600`;
const [other, third, fourth] = ['b', 'c', 'd'].map((name) => parseSpiffeId(`spiffe://prod.example/${name}`));
const RATE = expect.objectContaining({ code: 'rate' });

function started(script: string, maxProcesses: number, clock: Clock) {
  const command = ['/bin/sh', '-c', script] as const;
  const upstream = commandUpstream({ kind: 'command', command, env: {} }, silentLog, maxProcesses, clock);
  /** Resolves when it is answered, or has failed with the end of its process. */
  const call = (who = caller, era: 'legacy' | 'modern' = 'modern') =>
    new Promise<string>((tell, reject) => {
      const message = { kind: 'request' as const, id: 1, method: 'initialize', params: undefined };
      const to = { ...back(() => tell('ended')), answer: () => tell('answered') };
      try {
        upstream.send({ caller: who, era, message, session: undefined, headers: {} }, to);
      } catch (error) {
        reject(error);
      }
    });
  return { upstream, call };
}

test.each(['legacy', 'modern'] as const)(
  'M93 processes that answer and end are started once a second for their caller, after 64 (%s)',
  async (era) => {
    const clock = new ManualClock(new Date(0));
    const { upstream, call } = started(once, 8, clock);
    const says = (who = caller) =>
      expect.poll(() => call(who, era).catch(({ message }) => message), { interval: 5, timeout: 30_000 });
    /** Until it is started; the one before it may still be about to end. */
    const begun = async (who = caller): Promise<void> => {
      await says(who).toBe('answered');
    };
    for (let start = 0; start < 64; start += 1) await begun();
    await says().toBe(`${caller} starts processes of the MCP server faster than allowed`);
    await begun(other);
    clock.jump(new Date(1_000));
    await begun();
    await upstream.close();
  },
);

test('M93 a process gives way once, to whom may start one, and counts until it has ended', async () => {
  const { upstream, call } = started(stubborn, 2, systemClock);
  expect([await call(), await call(other)]).toEqual(['answered', 'answered']);
  expect([await call(third), await call(fourth)]).toEqual(['answered', 'answered']);
  await expect(call()).rejects.toThrow(RATE);
  await upstream.close();
});
