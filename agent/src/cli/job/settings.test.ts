import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Invocation, MisuseError } from '@chancery/shared/cli/program.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { refusal } from '../../../../test/kit/refusal.ts';
import { jobSettings, timeoutOf } from './settings.ts';

const dir = mkdtempSync(join(tmpdir(), 'job-'));
afterAll(() => rmSync(dir, { recursive: true }));
const config = join(dir, 'agent.yaml');
const ca = { address: 'ca.internal:8443', bundle: 'bundle.pem' };
writeFileSync(config, stringify({ trustDomain: 'prod.example', ca, platform: 'auto', dataDir: 'data' }));

type Flags = Readonly<Record<string, string>>;
const PIN = 'ab'.repeat(32);
const FLAGS: Flags = { ca: 'ca.internal:8443', 'trust-domain': 'prod.example', pin: PIN };

const called = (flags: Flags): Invocation => ({
  positionals: [],
  text: (flag) => flags[flag],
  texts: () => [],
  has: (flag) => flags[flag] !== undefined,
});
const settingsOf = (flags: Flags) => jobSettings(called(flags), '/tmp/job');

describe('flags instead of a config', () => {
  test('are a whole config that finds the platform', () => {
    expect(settingsOf(FLAGS)).toMatchObject({
      trustDomain: 'prod.example',
      ca: { address: 'ca.internal:8443', pin: PIN },
      platform: 'auto',
      dataDir: '/tmp/job',
    });
  });

  test('name the bundle relative to the folder that the command is run in', () => {
    const { ca: trusted } = settingsOf({ ca: 'a:1', 'trust-domain': 'prod.example', bundle: 'b.pem' });
    expect(trusted.bundle).toBe(join(process.cwd(), 'b.pem'));
  });

  test.each<[string, Flags, RegExp]>([
    ['beside a config', { ...FLAGS, config }, /^--ca is instead of a config: leave out one of them$/],
    ['without a trust domain', { ca: 'a:1', pin: PIN }, /^expected --ca and --trust-domain together$/],
    ['without the CA', { pin: PIN }, /^expected --ca and --trust-domain together$/],
  ])('%s are misused', (_, flags, says) => {
    expect(() => settingsOf(flags)).toThrow(MisuseError);
    expect(() => settingsOf(flags)).toThrow(says);
  });

  test.each<[string, Flags, RegExp]>([
    [
      'to verify the CA by',
      { ca: 'a:1', 'trust-domain': 'prod.example' },
      /^flags:\d+: ca: set `bundle` or `pin`/,
    ],
    ['in an address', { ...FLAGS, ca: 'ca.internal' }, /^flags:\d+: ca\.address: /],
    ['in a pin', { ...FLAGS, pin: 'ab' }, /^flags:\d+: ca\.pin: SHA-256 of the root/],
  ])('say what is missing %s', (_, flags, says) => {
    expect(() => settingsOf(flags)).toThrow(refusal('config', says));
  });
});

describe('a config', () => {
  test('is read where no flag is instead of it, and its dataDir is left alone', () => {
    expect(settingsOf({ config })).toMatchObject({
      ca: { address: 'ca.internal:8443' },
      dataDir: '/tmp/job',
    });
  });

  test('that is named must be there', () => {
    expect(() => settingsOf({ config: join(dir, 'none.yaml') })).toThrow(refusal('config', /none\.yaml/));
  });
});

describe('--id', () => {
  const id = 'spiffe://prod.example/ci/deploy';

  test('asks for a SPIFFE ID, with flags and with a config', () => {
    expect(settingsOf({ ...FLAGS, id }).id).toBe(id);
    expect(settingsOf({ config, id }).id).toBe(id);
  });

  test.each<[string, string, RegExp]>([
    [
      'of another trust domain',
      'spiffe://other.example/ci',
      /^--id .* is not of trust domain prod\.example$/,
    ],
    ['that is not one', 'ci/deploy', /./],
  ])('%s is refused', (_, text, says) => {
    expect(() => settingsOf({ ...FLAGS, id: text })).toThrow(says);
  });
});

test('--timeout is a duration, by default a minute', () => {
  expect(timeoutOf(called({}))).toBe(60);
  expect(timeoutOf(called({ timeout: '5m' }))).toBe(300);
  expect(() => timeoutOf(called({ timeout: 'soon' }))).toThrow(/soon/);
});
