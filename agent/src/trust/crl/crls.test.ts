import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { CrlPart } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { MAX_CRL_BYTES } from '@chancery/shared/x509/crl.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, keyIdOf, makeAuthority, NOW, signed } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { type KeptCrls, keepCrls } from './crls.ts';
import { assembled, type OfferedCrls } from './fetch.ts';
import { savedCrls } from './saved.ts';

const root = makeAuthority('Root');
const foreign = makeAuthority('Root');
const trustDomain = parseTrustDomain('prod.example');
const bundle = () => ({ trustDomain, authorities: [root.certificate.der], sequence: 1n });

function offer(number: bigint, nextUpdate = after(3600)): OfferedCrls {
  const fields = { issuer: root.certificate.subject, keyId: keyIdOf(root), entries: new Uint8Array() };
  const tbs = writeCrlTbs({ ...fields, number, thisUpdate: NOW, nextUpdate }, 'ecdsa-p256');
  const lists = [{ issuer: root.certificate.der, der: signed(tbs, root.key) }];
  return { state: Uint8Array.of(Number(number)), lists };
}

let clock: ManualClock;
let told: LiveValue<Uint8Array>;
let trusted: LiveValue<ReturnType<typeof bundle>>;
let kept: KeptCrls;
let file: string;
let answer: () => OfferedCrls;
let asked = 0;
beforeEach(() => {
  clock = new ManualClock(after(1));
  told = new LiveValue<Uint8Array>(() => new Error('none'));
  trusted = new LiveValue(() => new Error('none'), bundle());
  answer = () => offer(5n);
  asked = 0;
  file = join(mkdtempSync(join(tmpdir(), 'crls-')), 'crls');
  keep(told);
});
afterEach(async () => {
  await kept.close();
  rmSync(dirname(file), { recursive: true });
});

function keep(by: LiveValue<Uint8Array> | undefined): void {
  const fetch = async () => {
    asked += 1;
    return answer();
  };
  const saved = savedCrls(file, silentLog);
  kept = keepCrls({ fetch, bundle: trusted, told: by, saved, clock, random: () => 0.5, log: silentLog });
}
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 5 });
const held = (number: bigint) => until(() => expect(kept.lists.current()[0]?.number).toBe(number));
/** Until the keeper sleeps again. */
const settled = () => until(() => expect(clock.sleeping).toBe(1));

describe('the lists are asked for', () => {
  test('at once, and again as soon as the CA says that there are others', async () => {
    await held(5n);
    await settled();
    answer = () => offer(6n);
    told.publish(Uint8Array.of(6));
    await held(6n);
    expect(asked).toBe(2);
  });

  test('not again where the CA says what is held already', async () => {
    await held(5n);
    await settled();
    told.publish(Uint8Array.of(5));
    await new Promise((resolve) => void setImmediate(resolve));
    expect(asked).toBe(1);
  });

  test('when the bundle changes, and long before a list ends', async () => {
    await held(5n);
    await settled();
    trusted.publish(bundle());
    await until(() => expect(asked).toBe(2));
    await settled();
    answer = () => offer(7n, after(7200));
    clock.advanceTo(after(3600 * 0.6 + 1));
    await held(7n);
  });

  test('each minute where there is no trust stream', async () => {
    await kept.close();
    asked = 0;
    keep(undefined);
    await until(() => expect(asked).toBe(1));
    await settled();
    clock.advanceTo(after(62));
    await until(() => expect(asked).toBe(2));
  });
});

describe('I282 a restart without the CA', () => {
  const again = async () => {
    await held(5n);
    await kept.close();
    answer = () => {
      throw new IdentityError('unavailable', 'the CA does not answer');
    };
  };

  test('has the lists of before at once', async () => {
    await again();
    keep(told);
    expect(kept.lists.current()[0]?.number).toBe(5n);
    await until(() => expect(kept.failure()).toBe('the CA does not answer'));
  });

  test.each([
    ['that have ended', () => clock.advanceTo(after(3600))],
    ['of another root', () => trusted.publish({ ...bundle(), authorities: [foreign.certificate.der] })],
    [
      'that were changed',
      () => writeFileSync(file, readFileSync(file, 'latin1').replace(/.{9}\n$/, 'AAAAAAAA=\n')),
    ],
    ['whose file is no such file', () => writeFileSync(file, 'lists')],
    ['that others could read', () => chmodSync(file, 0o644)],
  ])('has none %s, and starts', async (_, spoil) => {
    await again();
    spoil();
    keep(told);
    expect(kept.lists.has()).toBe(false);
    answer = () => offer(6n, after(7200));
    await settled();
    clock.advanceTo(new Date(clock.now().getTime() + 3000));
    if (trusted.current().authorities[0] === root.certificate.der) await held(6n);
  });
});

describe('a failure', () => {
  test('is said, leaves what is held, and is tried again', async () => {
    await held(5n);
    await settled();
    answer = () => {
      throw new IdentityError('unavailable', 'the CA does not answer');
    };
    told.publish(Uint8Array.of(6));
    await until(() => expect(kept.failure()).toBe('the CA does not answer'));
    expect(kept.lists.current()[0]?.number).toBe(5n);
    answer = () => offer(6n);
    await settled();
    clock.advanceTo(after(3));
    await held(6n);
    expect(kept.failure()).toBeUndefined();
  });

  test('I123 is also an older list than the one that is held', async () => {
    await held(5n);
    await settled();
    answer = () => offer(4n);
    told.publish(Uint8Array.of(4));
    await until(() => expect(kept.failure()).toMatch(/older than 5, which is held$/));
    expect(kept.lists.current()[0]?.number).toBe(5n);
  });
});

describe('I124 the parts of an answer', () => {
  const nothing = Buffer.alloc(0);
  const part = (changes: Partial<CrlPart>): CrlPart => ({
    state: nothing,
    issuer: nothing,
    data: nothing,
    ...changes,
  });
  async function* parts(...list: readonly CrlPart[]) {
    yield* list;
  }
  const [a, b, c] = [Buffer.from('a'), Buffer.from('b'), Buffer.from('c')];

  test('are joined, each list with its issuer', async () => {
    const sent = [
      part({ state: a }),
      part({ issuer: b, data: a }),
      part({ data: c }),
      part({ issuer: c, data: b }),
    ];
    expect(await assembled(parts(...sent))).toEqual({
      state: a,
      lists: [
        { issuer: b, der: Buffer.from('ac') },
        { issuer: c, der: b },
      ],
    });
  });

  test.each<[string, readonly CrlPart[], RegExp]>([
    ['without an issuer', [part({ data: a })], /begins without its issuer$/],
    [
      'of 65 lists',
      Array.from({ length: 65 }, () => part({ issuer: a, data: a })),
      /more than 64 revocation lists$/,
    ],
    [
      'of too many bytes',
      Array.from({ length: 9 }, () => part({ issuer: a, data: Buffer.alloc(MAX_CRL_BYTES) })),
      /more than 67108864 bytes$/,
    ],
  ])('%s are refused', async (_, list, message) => {
    await expect(assembled(parts(...list))).rejects.toThrow(refusal('crl', message));
  });
});
