/** Two hundred tool calls at once, directly and through connect and gateway: what a fan-out of an agent's costs. */
import type { Agent } from 'node:http';
import type { Bench } from '../bench.ts';
import { quantile, schedulingOf } from '../measure.ts';
import { McpCaller } from './caller.ts';
import { openSoon, plainAgent, startWorld, type World } from './gateway.ts';

const CALLS = 200;
const ROUNDS = 15;

export const parallel: Bench = {
  says: `${CALLS} tool calls at once, directly and through connect and gateway`,
  async run(progress) {
    progress('starting CA, server, gateway and connect');
    const world = await startWorld();
    try {
      const through: number[] = [];
      const direct: number[] = [];
      const before = scheduling(world);
      for (let round = 0; round < ROUNDS; round += 1) {
        progress(`round ${round + 1} of ${ROUNDS}`);
        // A client of its own each time, so that neither has connections left over from the last round.
        direct.push(await together((agent) => McpCaller.open({ agent, port: world.serverPort })));
        through.push(await together((agent) => openSoon({ agent, port: world.connectPort })));
      }
      // Both of one round met the machine alike, which two medians did not.
      const times = through.map((ms, round) => ms / (direct[round] ?? ms));
      const [directMs, throughMs] = [quantile(direct, 0.5), quantile(through, 0.5)];
      const ratio = quantile(times, 0.5);
      const after = scheduling(world);
      const [ran, waited] = [after.ranMs - before.ranMs, after.waitedMs - before.waitedMs];
      const waitedForCore = Math.round((waited / (ran + waited)) * 100) / 100;
      const cpuMicros = Math.round((ran * 1000) / (ROUNDS * CALLS));
      const ms = (value: number): string => `${value.toFixed(0)} ms`;
      return {
        json: { directMs, throughMs, ratio, cpuMicros, waitedForCore },
        table: [
          ['directly, the median round', ms(directMs)],
          ['through connect and gateway', ms(throughMs)],
          ['times as long, the median of the rounds (budget 2)', ratio.toFixed(2)],
          ['CPU of connect and gateway for each call', `${cpuMicros} us`],
          [
            'of the time in which they could have run, they waited for a core',
            `${(waitedForCore * 100).toFixed(0)}%`,
          ],
          ['through, the first round', ms(through[0] ?? 0)],
        ],
      };
    } finally {
      await world.close();
    }
  },
};

/** Of connect and gateway together, with what they do besides, such as sending records to the CA. */
function scheduling({ connect, gateway }: World): ReturnType<typeof schedulingOf> {
  const each = [connect, gateway].map(({ child }) => schedulingOf(child.pid ?? 0));
  const sum = (of: 'ranMs' | 'waitedMs'): number => each.reduce((all, one) => all + one[of], 0);
  return { ranMs: sum('ranMs'), waitedMs: sum('waitedMs') };
}

async function together(open: (agent: Agent) => Promise<McpCaller>): Promise<number> {
  const agent = plainAgent();
  const caller = await open(agent);
  const started = performance.now();
  await Promise.all(Array.from({ length: CALLS }, () => caller.calls(1)));
  const took = performance.now() - started;
  // A client that ends closes its connections. Those of past rounds would cost this one.
  agent.destroy();
  return took;
}
