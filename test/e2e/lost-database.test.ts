/** A CA whose database ends under it. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { CA_MAIN, makeCa, makeFolder, removeFolder, startProgram } from '../kit/processes.ts';

const LOSE = fileURLToPath(new URL('../kit/observe/lose-database.ts', import.meta.url));
const dir = makeFolder();
afterAll(() => removeFolder(dir));

test('ends with status 1 and a sentence, so that a service manager starts it again', async () => {
  const ca = await makeCa(dir, 'lost.example', { attestors: { unix: {} } });
  const env = { ...process.env, NODE_OPTIONS: `--import ${LOSE}` };
  const { child, log } = await startProgram(CA_MAIN, ['serve', '--config', ca.config], env);
  const ended = once(child, 'exit');
  child.kill('SIGUSR2');
  expect(await ended).toEqual([1, null]);
  expect(log()).toMatch(
    /\nchancery-ca: \S+\/ca\.db: the thread of the database ended; nothing can be signed any more: the CA has to start again\n$/,
  );
  const again = await ca.serve();
  await again.stop();
});
