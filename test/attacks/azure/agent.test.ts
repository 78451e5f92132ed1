/** The agent on an Azure VM: a metadata service that is not well, or is not Azure's; and what the configs may not say. */
import { AzureEvidenceConfig, azureEvidence, azureEvidenceKind } from '@chancery/agent/evidence/azure.ts';
import { AzureConfig } from '@chancery/ca/attestors/azure/config.ts';
import { nonceOf } from '@chancery/shared/evidence/azure.ts';
import { type Outbound, openOutbound } from '@chancery/shared/outbound/http.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startAzureImds } from '../../kit/azure/imds.ts';
import {
  AUDIENCE,
  type AzureWorld,
  attestVm,
  letsIn,
  startAzureWorld,
  vmEvidence,
} from '../../kit/azure/world.ts';
import type { Spoilt } from '../../kit/http/served.ts';
import { seeded } from '../../kit/random.ts';
import { refusal } from '../../kit/refusal.ts';

let world: AzureWorld;
beforeAll(async () => {
  world = await startAzureWorld();
});
afterAll(() => world.close());
beforeEach(() => world.clock.move(2));
afterEach(() => world.imds.spoil(undefined));

const BINDING: Uint8Array = new Uint8Array(32).fill(9);

/** What the agent answers to the CA. */
async function said(binding: Uint8Array = BINDING, config: object = {}, question = ''): Promise<Uint8Array> {
  const { source, deps } = vmEvidence(world, config);
  const exchange = await source.begin(new Uint8Array(), AbortSignal.timeout(120_000));
  try {
    expect(exchange.opening).toEqual(new Uint8Array());
    return await exchange.answer(Buffer.from(question), binding);
  } finally {
    await exchange.end();
    await source.close();
    deps.outbound.close();
  }
}

const unavailable = (says: RegExp) => refusal('platform_unavailable', says);

test('what the agent says passes, and asks with the header that Azure wants', async () => {
  const bindings: Uint8Array[] = [];
  const answer = (binding: Uint8Array) => {
    bindings.push(binding);
    return said(binding);
  };
  const before = world.imds.received.length;
  const facts = await attestVm(world, world.attestor(), { answer });
  expect(facts).toMatchObject({ node: world.vm.vmId, attributes: { vmName: 'billing-0' } });
  const asked = world.imds.received.slice(before);
  const [nonce] = bindings.map(nonceOf);
  expect(asked.map(({ target }) => target)).toEqual([
    `/metadata/attested/document?api-version=2021-02-01&nonce=${nonce}`,
    `/metadata/identity/oauth2/token?api-version=2018-02-01&resource=${encodeURIComponent(AUDIENCE)}`,
  ]);
  expect(asked.map(({ headers }) => headers.get('metadata'))).toEqual([['true'], ['true']]);
});

test('ten digits of the binding, the first no zero, and other ones for another binding', () => {
  const spread = seeded(4);
  const nonces = Array.from({ length: 1000 }, () =>
    nonceOf(Uint8Array.from({ length: 32 }, () => spread.int(256))),
  );
  expect(nonces.filter((nonce) => !/^[1-9][0-9]{9}$/.test(nonce))).toEqual([]);
  expect(new Set(nonces).size).toBe(1000);
  expect(nonceOf(new Uint8Array(32))).toBe('1000000000');
  expect(nonceOf(new Uint8Array(32).fill(255))).toBe('4709551615');
});

describe('a document for another nonce', () => {
  test('is not sent: the service is asked again', async () => {
    await said();
    world.imds.keepDocuments(2);
    const facts = await attestVm(world, world.attestor(), { answer: (binding) => said(binding) });
    expect(facts).toMatchObject({ node: world.vm.vmId });
  });

  test('three times', async () => {
    await said();
    world.imds.keepDocuments(3);
    await expect(said(new Uint8Array(32).fill(1))).rejects.toEqual(unavailable(/keeps giving a document/));
    world.imds.keepDocuments(0);
  });
});

describe('a metadata service that is not well', () => {
  const json =
    (body: object): Spoilt =>
    () => ({ status: 200, body: JSON.stringify(body) });
  test.each<[string, Spoilt, RegExp]>([
    ['401', () => ({ status: 401 }), /attested\/document answered 401$/],
    ['403', () => ({ status: 403 }), /answered 403$/],
    ['404, as on another cloud', () => ({ status: 404 }), /answered 404$/],
    ['429', () => ({ status: 429, body: '{"error":"Too many requests"}' }), /answered 429$/],
    [
      'a sentence of Azure’s',
      () => ({ status: 400, body: '{"error":"invalid_request","error_description":"Identity not found"}' }),
      /answered 400: Identity not found$/,
    ],
    ['500', () => ({ status: 500 }), /answered 500$/],
    ['a redirect', () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }), /answered 302$/],
    ['no JSON', () => ({ status: 200, body: 'hello' }), /a value is expected/],
    ['a list', () => ({ status: 200, body: '[]' }), /without a JSON object/],
    ['another encoding', json({ encoding: 'xml', signature: 'AAAA' }), /no document in pkcs7/],
    ['no document', json({ encoding: 'pkcs7' }), /no document in pkcs7/],
    ['half of it', 'cut', /aborted|hang up|ECONNRESET/],
    ['129 kB', () => ({ status: 200, body: 'x'.repeat(129 * 1024) }), /longer than 131072 bytes/],
  ])('%s', async (_, how, says) => {
    world.imds.spoil(how);
    await expect(said()).rejects.toEqual(unavailable(says));
  });

  test('no token', async () => {
    world.imds.spoil((answer, { target }) =>
      target.includes('token') ? { status: 200, body: '{}' } : answer,
    );
    await expect(said()).rejects.toEqual(unavailable(/gave no access_token/));
  });

  test.each(['hang', 'drip'] as const)('that answers with a %s ends with the exchange', async (how) => {
    world.imds.spoil(how);
    const { source, deps } = vmEvidence(world);
    const stop = new AbortController();
    const exchange = await source.begin(new Uint8Array(), stop.signal);
    const attempt = exchange.answer(new Uint8Array(), BINDING);
    const before = world.imds.received.length;
    await expect.poll(() => world.imds.received.length).toBeGreaterThan(before);
    stop.abort();
    await expect(attempt).rejects.toEqual(unavailable(/abort/));
    deps.outbound.close();
  });

  test('that is not there', async () => {
    await expect(said(BINDING, { endpoint: 'http://127.0.0.1:1' })).rejects.toEqual(
      unavailable(/ECONNREFUSED/),
    );
  });
});

test('an application that the tenant does not know is named', async () => {
  const attempt = said(BINDING, { audience: 'https://other.example/x' });
  await expect(attempt).rejects.toEqual(
    unavailable(/AADSTS500011: The resource principal named https:\/\/other/),
  );
});

test('a VM with several identities must be told which', async () => {
  const [own = world.identity] = world.vm.identities;
  const vm = { ...world.vm, identities: [own, { ...own, clientId: '00000000-0000-0000-0000-000000000001' }] };
  const now = () => world.clock.now();
  const imds = await startAzureImds({ ...world, vm, now, applications: [AUDIENCE] });
  try {
    await expect(said(BINDING, { endpoint: imds.url })).rejects.toEqual(
      unavailable(/Multiple user assigned/),
    );
    await said(BINDING, { endpoint: imds.url, clientId: own.clientId });
  } finally {
    await imds.close();
  }
});

test('a CA that asks for more than a nonce gets nothing', async () => {
  await expect(said(BINDING, {}, 'resource=arm')).rejects.toEqual(
    refusal('evidence_parse', /nothing but its nonce/),
  );
});

describe('whether this is an Azure VM', () => {
  /** Where the link-local address leads. */
  async function detected(to: string) {
    const real = openOutbound();
    const outbound: Outbound = {
      request: (request) =>
        real.request({ ...request, url: request.url.replace('http://169.254.169.254', to) }),
      close: () => real.close(),
    };
    try {
      return await azureEvidenceKind.detect(
        { ...vmEvidence(world).deps, outbound },
        AbortSignal.timeout(2_000),
      );
    } finally {
      outbound.close();
    }
  }

  test('it is', async () => {
    expect(await detected(world.imds.url)).toEqual({
      usable: true,
      says: `Azure's metadata service knows this VM as ${world.vm.vmId}`,
    });
  });

  test.each<[string, Spoilt, RegExp]>([
    ['another cloud’s', () => ({ status: 404 }), /answered 404/],
    ['another cloud’s with words', () => ({ status: 200, body: '<html>' }), /value is expected/],
    ['without an ID', () => ({ status: 200, body: '{}' }), /names no vmId/],
    ['silent', 'hang', /no whole answer in 1 s/],
  ])('it is not: %s', async (_, how, says) => {
    world.imds.spoil(how);
    expect(await detected(world.imds.url)).toEqual({ usable: false, says: expect.stringMatching(says) });
  });
});

describe('a config refuses at load', () => {
  const good = () => letsIn(world.entra);
  const says = (changes: object): string =>
    AzureConfig.safeParse({ ...good(), ...changes })
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
      .join('\n') ?? 'good';

  test.each<[string, object, RegExp]>([
    ['ARM', { audience: 'https://management.azure.com/' }, /write an App ID URI of your own/],
    ['ARM of old', { audience: 'https://management.core.windows.net/' }, /a service of Microsoft's/],
    ['the graph', { audience: 'https://graph.microsoft.com' }, /a service of Microsoft's/],
    ['a vault', { audience: 'https://vault.azure.net' }, /a service of Microsoft's/],
    ['ARM in China', { audience: 'https://management.chinacloudapi.cn' }, /a service of Microsoft's/],
    ['no audience', { audience: '' }, /an App ID URI/],
    ['no tenant', { tenants: {} }, /name at least one tenant/],
    ['every tenant', { tenants: { '*': { subscriptions: ['x'] } } }, /^tenants\.\*: .*[Ii]nvalid key/s],
    [
      'no subscription',
      { tenants: { '8d10da13-8125-4ba9-a717-bf7490507b3d': { subscriptions: [] } } },
      /^tenants\..*\.subscriptions: /,
    ],
    ['no word on what holds the two together', { sameVm: undefined }, /^sameVm: /],
    ['keys over http', { login: 'http://login.example' }, /write an https address/],
    ['no roots', { roots: [] }, /^roots: /],
    ['an unknown key', { fetchIntermediates: true }, /fetchIntermediates/],
    ['a time that is none', { maxDocumentAge: 'long' }, /is not a length of time/],
  ])('%s', (_, changes, expected) => {
    expect(says({})).toBe('good');
    const found = says(changes);
    expect(found).not.toBe('good');
    expect(found).toMatch(expected);
  });

  test('roots that are none', () => {
    world.files.set('none.pem', 'hello');
    expect(() => world.attestor({ roots: ['none.pem'] })).toThrow(
      refusal('config', /^attestors\.azure: none\.pem: no PEM block CERTIFICATE/),
    );
    expect(() => world.attestor({ intermediates: ['lost.pem'] })).toThrow(
      refusal('config', /lost\.pem: ENOENT/),
    );
  });

  test('an agent’s metadata service over http that is on another machine', () => {
    expect(() => AzureEvidenceConfig.parse({ endpoint: 'http://10.0.0.1' })).toThrow(
      /an address on this machine/,
    );
    expect(azureEvidence(AzureEvidenceConfig.parse({}), vmEvidence(world).deps).platform).toBe('azure');
  });
});
