import { silentLog } from '@chancery/shared/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { commandUpstream } from './command.ts';
import type { Back } from './upstream.ts';

const caller = parseSpiffeId('spiffe://prod.example/a');
const script = 'read line; case "$line" in *crash*) exit 1;; esac; exec cat > /dev/null';
const target = { kind: 'command' as const, command: ['/bin/sh', '-c', script] as const, env: {} };

function back(fail: () => void, session: (name: string) => void = () => {}): Back {
  const nothing = (): void => {};
  return {
    ...{ session, answer: nothing, open: nothing, event: () => true, keepAlive: nothing, end: nothing },
    ...{ sent: nothing, onLost: nothing, answered: false, fail, cancelled: nothing },
    ...{ onDrain: nothing, onClose: nothing },
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
