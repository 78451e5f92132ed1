/**
 * Joins do not each make connections to their platform: the CA keeps those to key servers, to STS and to API servers.
 * A TLS handshake costs both sides more than all the rest of a question.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { attestAws, iamEvidence, startAwsWorld } from '../kit/aws/world.ts';
import { attestVm, startAzureWorld } from '../kit/azure/world.ts';
import { attestPod, OURS, startKubernetesWorld } from '../kit/kubernetes/world.ts';
import { type Tallies, tallyServers } from '../kit/observe/tally.ts';
import { attestToken, startOidcWorld } from '../kit/oidc/world.ts';

const JOINS = 8;
/** When an issuer's keys are looked at again. */
const REFRESH_SECONDS = 601;

/** One platform whose server the CA asks. */
interface Asked {
  readonly url: string;
  join(): Promise<unknown>;
  /** Makes the next join ask again, where answers are kept. */
  later?(): void;
  close(): Promise<void>;
}

const platforms: Readonly<Record<string, () => Promise<Asked>>> = {
  'kubernetes, TokenReview and pod': async () => {
    const world = await startKubernetesWorld();
    const attestor = await world.attestor();
    return { url: world.server.url, join: () => attestPod(world, attestor), close: world.close };
  },
  'kubernetes, JWKS': async () => {
    const world = await startKubernetesWorld(true);
    const { url, caPem, cluster } = world.server;
    world.files.set('ca.pem', caPem);
    const jwks = { issuer: url, ca: 'ca.pem' };
    const attestor = await world.attestor({ review: undefined, jwks });
    const token = () => cluster.tokenFor(world.pod, [OURS]);
    const join = () => attestPod(world, attestor, { token: token() });
    return { url, join, later: () => world.clock.move(REFRESH_SECONDS), close: world.close };
  },
  'oidc, JWKS': async () => {
    const world = await startOidcWorld();
    const attestor = world.oidc();
    const join = () =>
      attestToken(world, attestor, { token: (audience) => world.issuer.token({ aud: audience }) });
    return {
      url: world.issuer.url,
      join,
      later: () => world.clock.move(REFRESH_SECONDS),
      close: world.close,
    };
  },
  'azure, JWKS': async () => {
    const world = await startAzureWorld();
    const attestor = world.attestor();
    const join = () => attestVm(world, attestor);
    return {
      url: world.entra.served.url,
      join,
      later: () => world.clock.move(REFRESH_SECONDS),
      close: world.close,
    };
  },
  'aws-iam, STS': async () => {
    const world = await startAwsWorld();
    const [attestor, key] = [world.iam(), world.role()];
    const join = () => attestAws(world, attestor, iamEvidence(world, key));
    return { url: world.sts.url, join, close: world.close };
  },
};

describe.each(Object.keys(platforms))('%s', (name) => {
  let asked: Asked;
  let tally: Tallies;
  beforeEach(async () => {
    asked = (await platforms[name]?.()) ?? expect.fail(name);
    tally = tallyServers();
  });
  afterEach(async () => {
    tally.end();
    await asked.close();
  });

  test('one connection for joins that follow each other', async () => {
    const requests = () => tally.of(asked.url).requests;
    // Keys are looked at again beside the joins, and two looks at once are one: so there may be more joins than looks.
    for (let joins = 0; requests() < JOINS && joins < 100 * JOINS; joins += 1) {
      await asked.join();
      asked.later?.();
    }
    expect(requests()).toBeGreaterThanOrEqual(JOINS);
    expect(tally.of(asked.url).connections).toBe(1);
  });

  test('and for many at once no more than they are, which the next ones use again', async () => {
    const all = () => Promise.all(Array.from({ length: JOINS }, () => asked.join()));
    await all();
    const { connections } = tally.of(asked.url);
    expect(connections).toBeLessThanOrEqual(asked.later === undefined ? JOINS : 1);
    await all();
    expect(tally.of(asked.url).connections).toBe(connections);
  });
});
