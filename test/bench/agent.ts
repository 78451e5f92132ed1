/** The agent beside a workload: how soon it has its first SVID, and what it weighs when it has nothing to do. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { makeAgent, makeCa, makeFolder, removeFolder } from '../kit/processes.ts';
import { makeSoftwareTpm } from '../kit/tpm/swtpm.ts';
import type { Bench } from './bench.ts';
import { quantile, rssMbOf } from './measure.ts';

const TRUST_DOMAIN = 'bench.example';
const STARTS = 7;
/** For what was needed to start to be let go. */
const IDLE_MS = 20_000;

export const agent: Bench = {
  says: 'cold start to the first SVID with a software TPM, and memory when idle',
  async run(progress) {
    const tpm = await makeSoftwareTpm();
    const dir = makeFolder();
    const { roots, intermediates, device } = tpm;
    const ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { tpm: { roots, intermediates } } });
    const serving = await ca.serve();
    try {
      await ca.saveBundle();
      await ca.apply([{ kind: 'Identity', name: 'w', platform: 'tpm', id: `spiffe://${TRUST_DOMAIN}/w` }]);
      const folder = makeAgent(ca, 'agent', { evidence: { tpm: { device } } });
      const starts: number[] = [];
      let rssMb = Number.NaN;
      for (let start = 0; start < STARTS; start += 1) {
        progress(`cold start ${start + 1} of ${STARTS}`);
        rmSync(join(folder.dir, 'data'), { recursive: true, force: true });
        const before = performance.now();
        const running = await folder.run();
        starts.push(performance.now() - before);
        if (start === STARTS - 1) {
          progress(`idle for ${IDLE_MS / 1000} s`);
          await sleep(IDLE_MS);
          rssMb = rssMbOf(running.child.pid ?? 0);
        }
        // Its stream has to be open, or the CA holds the machine's place for it until a claim runs out.
        while ((await readStatus(folder.socket)).policyVersion === null) await sleep(20);
        await running.stop();
      }
      const firstSvidMs = quantile(starts, 0.5);
      return {
        table: [
          ['process start to first SVID (median)', `${firstSvidMs.toFixed(0)} ms`],
          ['resident memory, idle', `${rssMb.toFixed(0)} MB`],
        ] as const,
        json: { rssMb: Math.round(rssMb * 10) / 10, firstSvidMs: Math.round(firstSvidMs) },
      };
    } finally {
      await serving.stop();
      await tpm.stop();
      removeFolder(dir);
    }
  },
};
