/** A short run of every target, always the same one; `npm run fuzz` is the long one. */
import { expect, test } from 'vitest';
import { fuzz } from './engine.ts';
import { TARGETS } from './targets.ts';

const SEED = 20_260_601;
const EXECUTIONS = 1_000;
/** Those that ask somebody over loopback, verify a signature or three each time, or are made very long. */
const FEWER: Readonly<Record<string, number>> = {
  'token-review': 50,
  der: 500,
  'signed-chain': 100,
  chain: 300,
  cms: 300,
  certificate: 500,
  'tpm-endorsement': 200,
  'gcp-claims': 300,
  'aws-claims': 300,
  'azure-claims': 300,
};

test.each(TARGETS)('$name: $says', async (target) => {
  const { name } = target;
  const outcome = await fuzz(target, { seed: SEED, executions: FEWER[name] ?? EXECUTIONS });
  const findings = outcome.findings.map(({ law, says, input }) => {
    const text = Buffer.from(input).toString('base64');
    return `${law}: ${says}\nnpm run fuzz -- ${name} --seed ${SEED} --once\nnpm run fuzz -- ${name} --input ${text}`;
  });
  expect(findings).toEqual([]);
  expect(outcome.seedsAccepted).toBeGreaterThan(0);
});

const again = ['json', 'jwt', 'certificate', 'snapshot'];
test.each(TARGETS.filter(({ name }) => again.includes(name)))(
  '$name goes the same way each time',
  async (target) => {
    const counted = async () => {
      const { executions, accepted, sentences } = await fuzz(target, { seed: SEED, executions: 300 });
      return { executions, accepted, sentences };
    };
    expect(await counted()).toEqual(await counted());
  },
);

test('targets have names of their own', () => {
  expect(new Set(TARGETS.map(({ name }) => name)).size).toBe(TARGETS.length);
});
