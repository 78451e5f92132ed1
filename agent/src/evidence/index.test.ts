import { silentLog } from '@chancery/shared/ground/log.ts';
import { describe, expect, test } from 'vitest';
import { place } from '../../../test/kit/evidence/place.ts';
import { findEvidence, firstUsable } from './auto.ts';
import { configOf, type Detected, detectAll, EvidenceConfig, openEvidence } from './index.ts';

/** What a CI system sets, and that this is no EC2 instance. */
const CI = { CHANCERY_ID_TOKEN: 'a.b.c', AWS_EC2_METADATA_DISABLED: 'true' };
const depsIn = (env: Record<string, string>) => ({ ...place({ env }).deps, log: silentLog });
const aborted = AbortSignal.abort(new Error('ended by SIGTERM'));
const open = (config: object) => openEvidence(EvidenceConfig.parse(config), place().deps);

describe('the config', () => {
  test.each([
    ['no platform', {}, /^name a platform, for instance "tpm: \{\}"; several must all pass$/],
    ['a platform that there is not', { sgx: {} }, /./],
  ])('refuses %s', (_, config, says) => {
    expect(EvidenceConfig.safeParse(config).error?.issues[0]?.message).toMatch(says);
  });

  test('opens one platform, or all that it names as one', async () => {
    const [one, both] = [open({ tpm: {} }), open({ unix: {}, gcp: {} })];
    expect([one.platform, both.platform]).toEqual(['tpm', 'gcp+unix']);
    for (const source of [one, both]) await source.close();
  });

  test('of keys in the TPM opens a source that makes keys', async () => {
    const source = open({ tpm: { key: 'tpm' } });
    expect(source.createKey).toBeDefined();
    await source.close();
  });
});

describe('platform: auto', () => {
  const seen = (platform: Detected['platform'], usable: boolean): Detected => ({
    platform,
    usable,
    says: '',
  });

  test('takes the first that can be used, in the order of preference', () => {
    expect(firstUsable([seen('oidc', false), seen('gcp', true), seen('tpm', true)])?.platform).toBe('gcp');
    expect(firstUsable([seen('oidc', false)])).toBeUndefined();
  });

  test('checks every platform, even if it is aborted', async () => {
    const tried = await detectAll(depsIn(CI), aborted);
    expect(tried.map(({ platform }) => platform)).toEqual(Object.keys(EvidenceConfig.shape));
    expect(tried.filter(({ says }) => says === '')).toEqual([]);
  });

  test('opens what it found, as the platform says it must be configured', async () => {
    const found = firstUsable(await detectAll(depsIn(CI), aborted));
    expect(found && configOf(found)).toEqual({ oidc: { tokenVariable: 'CHANCERY_ID_TOKEN' } });
    const source = await findEvidence(undefined, depsIn(CI), AbortSignal.timeout(60_000));
    expect(source.platform).toBe('oidc');
    await source.close();
  });

  test('is not asked where the config names a platform', async () => {
    const source = await findEvidence(EvidenceConfig.parse({ unix: {} }), depsIn(CI), aborted);
    expect(source.platform).toBe('unix');
    await source.close();
  });

  test('ends with the agent', async () => {
    await expect(findEvidence(undefined, depsIn({}), aborted)).rejects.toThrow('ended by SIGTERM');
  });
});
