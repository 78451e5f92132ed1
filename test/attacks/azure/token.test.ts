/**
 * C23 and C25 to C33 for tokens of Entra ID, what holds token and document to one VM, evidence that was captured, and
 * C44. The document is genuine throughout.
 */
import { randomUUID } from 'node:crypto';
import { packAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { version2 } from '../../kit/azure/entra.ts';
import type { Vm } from '../../kit/azure/imds.ts';
import {
  AUDIENCE,
  type AzureWorld,
  attestVm,
  documentFor,
  makeVm,
  SUBSCRIPTION,
  startAzureWorld,
  TENANT,
} from '../../kit/azure/world.ts';
import { proven } from '../../kit/ca/authority.ts';
import type { Spoilt } from '../../kit/http/served.ts';
import { type JwsParts, publicJwk, signingKey, writeJws } from '../../kit/oidc/jws.ts';
import { refusal } from '../../kit/refusal.ts';
import { type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let world: AzureWorld;
beforeAll(async () => {
  world = await startAzureWorld();
});
afterAll(() => world.close());
afterEach(() => {
  world.entra.served.spoil(undefined);
  world.entra.publish(undefined);
  world.imds.spoil(undefined);
});

const U = (code: Expected['code'], says: RegExp): Expected => ({ status: 'U', code, says });
const I = (code: Expected['code'], says: RegExp): Expected => ({ status: 'I', code, says });
const D = (says: RegExp): Expected => ({ status: 'D', code: 'claim_rule', says });
const seconds = (fromNow = 0): number => Math.floor(world.clock.now().getTime() / 1000) + fromNow;
const OTHER_TENANT = '11111111-2222-3333-4444-555555555555';
const OTHER_SUBSCRIPTION = '99999999-1bf0-4dda-aec3-cb9272f09590';

/** The VM's genuine token with these changes; `undefined` drops a claim. */
const token = (changes: object = {}, parts: JwsParts = {}, vm: Vm = world.vm): string => {
  const [identity = world.identity] = vm.identities;
  return world.entra.token(identity, AUDIENCE, changes, parts);
};
const attempt = (changes: object, parts?: JwsParts, config?: object) =>
  attestVm(world, world.attestor(config), { token: token(changes, parts) });
/** Another VM's token and document together, or one of them. */
const from = (tokenOf: Vm, documentOf: Vm, config?: object) =>
  attestVm(world, world.attestor(config), {
    token: token({}, {}, tokenOf),
    document: (nonce) => documentFor(world, { nonce }, documentOf),
  });

describe('C23 another tenant, another audience', () => {
  test.each<[string, object]>([
    [
      'of a tenant that is not listed',
      { iss: `https://sts.windows.net/${OTHER_TENANT}/`, tid: OTHER_TENANT },
    ],
    ['C33 without the last slash', { iss: `https://sts.windows.net/${TENANT}` }],
    ['C33 over http', { iss: `http://sts.windows.net/${TENANT}/` }],
    ['C33 in capitals', { iss: `https://sts.windows.net/${TENANT.toUpperCase()}/` }],
    ['of another host', { iss: `https://sts.windows.net.evil.example/${TENANT}/` }],
    ['of version 2, where those of version 1 are configured', version2(TENANT, AUDIENCE)],
    ['without an issuer', { iss: undefined }],
    ['with a list of issuers', { iss: [`https://sts.windows.net/${TENANT}/`] }],
    ['of a tenant that every object has', { iss: '__proto__' }],
  ])('a token %s is refused before any key is fetched', async (_, changes) => {
    const before = world.called.length;
    await expectRefusal(attempt(changes), U('issuer_unknown', /of no tenant that is listed/));
    expect(world.called.length).toBe(before);
  });

  test('a token whose tid is another tenant than its issuer', async () => {
    await expectRefusal(attempt({ tid: OTHER_TENANT }), U('issuer_unknown', /tid is another tenant/));
    await expectRefusal(attempt({ tid: undefined }), D(/tid is missing/));
  });

  test.each([
    ['ARM’s, which every VM has', 'https://management.azure.com/'],
    ['the start of ours', 'https://test.example/chance'],
    ['ours and more', `${AUDIENCE}/`],
    ['C29 ours and another', [AUDIENCE, 'https://vault.azure.net']],
    ['C29 none', []],
    ['C29 of another trust domain', 'https://other.example/chancery'],
  ])('an audience that is %s', async (_, aud) => {
    await expectRefusal(attempt({ aud }), U('jwt_aud', /expected https:\/\/test\.example\/chancery$/));
  });

  test('an application’s token of version 2 is for its ID', async () => {
    const applicationId = randomUUID();
    const config = { applicationId };
    const right = version2(TENANT, applicationId);
    expect(await attempt(right, {}, config)).toMatchObject({ node: world.vm.vmId });
    await expectRefusal(
      attempt({ ...right, aud: AUDIENCE }, {}, config),
      U('jwt_aud', /expected [0-9a-f-]{36}$/),
    );
    await expectRefusal(attempt({}, {}, config), U('issuer_unknown', /of no tenant/));
  });

  test('without a document from Azure nobody’s keys are fetched either', async () => {
    const fresh = world.attestor();
    const before = world.called.length;
    const attempt = attestVm(world, fresh, { document: Buffer.from('3000', 'hex') });
    await expectRefusal(attempt, I('evidence_parse', /content type is missing/));
    expect(world.called.length).toBe(before);
  });
});

describe('C25 to C32 the token itself', () => {
  const rows: readonly [string, () => [object, JwsParts?], Expected][] = [
    ['C25 none', () => [{}, { header: { alg: 'none' } }], I('jwt_parse', /three base64url parts/)],
    ['C25 HS256 with the public key', () => [{}, { header: { alg: 'HS256' } }], U('jwt_alg', /HS256/)],
    ['C25 ES256', () => [{}, { header: { alg: 'ES256' } }], U('jwt_alg', /ES256/)],
    ['C25 no algorithm', () => [{}, { header: { alg: undefined } }], U('jwt_alg', /missing/)],
    ['C26 jku', () => [{}, { header: { jku: 'https://evil.example' } }], U('jwt_header', /jku/)],
    ['C26 jwk', () => [{}, { header: { jwk: {} } }], U('jwt_header', /jwk/)],
    ['C26 crit', () => [{}, { header: { crit: [] } }], U('jwt_header', /crit/)],
    ['C30 no exp', () => [{ exp: undefined }], U('jwt_time', /exp is missing/)],
    ['C30 exp in ten years', () => [{ exp: seconds(315_360_000) }], U('jwt_time', /expected 1 to 90000/)],
    ['C30 expired', () => [{ iat: seconds(-7200), exp: seconds(-60) }], U('jwt_time', /it expired/)],
    ['C30 iat in the future', () => [{ iat: seconds(120) }], U('jwt_time', /iat is .* in the future/)],
    ['C30 nbf in the future', () => [{ nbf: seconds(120) }], U('jwt_time', /nbf is .* in the future/)],
    ['C30 exp as text', () => [{ exp: String(seconds(60)) }], U('jwt_time', /exp is "/)],
    ['C31 sub twice', () => [{}, { claimsText: twice() }], I('jwt_duplicate', /same key twice/)],
  ];
  const twice = (): string =>
    Buffer.from(token().split('.')[1] ?? '', 'base64url')
      .toString()
      .replace(/}$/, ',"sub":"x"}');
  test.each(rows)('%s', async (_, make, expected) => {
    const [changes, parts] = make();
    await expectRefusal(attempt(changes, parts), expected);
  });

  test.each<[string, () => string, Expected]>([
    ['C32 16 kB', () => `${token()}${'A'.repeat(16_384)}`, I('evidence_parse', /token is \d+ bytes/)],
    ['C32 four parts', () => `${token()}.AAAA`, I('jwt_parse', /three base64url parts/)],
    ['C32 a newline', () => `${token()}\n`, I('jwt_parse', /three base64url parts/)],
    ['C32 nothing', () => '', I('jwt_parse', /three base64url parts/)],
    ['a changed claim', () => bent(token()), U('jwt_signature', /does not verify/)],
    ['another key of the same name', () => forged(), U('jwt_signature', /does not verify/)],
  ])('%s', async (_, make, expected) => {
    await expectRefusal(attestVm(world, world.attestor(), { token: make() }), expected);
  });
  const bent = (text: string): string => {
    const [header = '', claims = '', signature = ''] = text.split('.');
    const other = Buffer.from(claims, 'base64url').toString().replace('agents', 'admins');
    return `${header}.${Buffer.from(other).toString('base64url')}.${signature}`;
  };
  const forged = (): string => {
    const claims = JSON.parse(Buffer.from(token().split('.')[1] ?? '', 'base64url').toString());
    return writeJws(claims, signingKey(world.entra.key.kid));
  };
});

describe('the tenant’s keys', () => {
  test('are those of the tenant’s own address, fetched once', async () => {
    const attestor = world.attestor();
    const before = world.called.length;
    await attestVm(world, attestor);
    await attestVm(world, attestor);
    const urls = world.called.slice(before).map(({ url }) => url);
    expect(urls).toEqual([`${world.entra.served.url}/${TENANT}/discovery/keys`]);
  });

  test('C27 fifty unknown keys cost one fetch a minute', async () => {
    const attestor = world.attestor();
    await attestVm(world, attestor);
    const before = world.called.length;
    for (let i = 0; i < 50; i += 1) {
      const stranger = token({}, { header: { kid: `unknown-${i}` } });
      await expectRefusal(attestVm(world, attestor, { token: stranger }), U('jwt_signature', /has no key/));
    }
    expect(world.called.length - before).toBeLessThanOrEqual(1);
  });

  test('that are new are found', async () => {
    const attestor = world.attestor();
    await attestVm(world, attestor);
    world.entra.rotate();
    world.clock.move(61);
    expect(await attestVm(world, attestor)).toMatchObject({ node: world.vm.vmId });
  });

  const unavailable = (says: RegExp) => refusal('keys_unavailable', says);
  test.each<[string, Spoilt, RegExp]>([
    ['401', () => ({ status: 401 }), /answered 401/],
    ['403', () => ({ status: 403 }), /answered 403/],
    ['500', () => ({ status: 500 }), /answered 500/],
    ['a redirect', () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }), /answered 302/],
    ['no JSON', () => ({ status: 200, body: '<html>' }), /value is expected/],
    ['another shape', () => ({ status: 200, body: '{"keys":1}' }), /array "keys"/],
    ['half of it', 'cut', /aborted|hang up|ECONNRESET/],
    ['one megabyte', () => ({ status: 200, body: 'x'.repeat(1 << 20) }), /longer than/],
  ])('C28 that come as %s let nobody in', async (_, how, says) => {
    world.entra.served.spoil(how);
    await expect(attestVm(world, world.attestor())).rejects.toEqual(unavailable(says));
  });

  test.each<[string, () => object, Expected | undefined]>([
    [
      'with a private key among them',
      () => ({ keys: [world.entra.key.privateKey.export({ format: 'jwk' })] }),
      undefined,
    ],
    [
      'for encryption',
      () => ({ keys: [{ ...publicJwk(world.entra.key), use: 'enc' }] }),
      U('jwt_signature', /has no key/),
    ],
    ['none', () => ({ keys: [] }), U('jwt_signature', /has no key/)],
  ])('C28 %s let nobody in', async (_, jwks, expected) => {
    world.entra.publish(jwks());
    const attempt = attestVm(world, world.attestor());
    if (expected === undefined) await expect(attempt).rejects.toEqual(unavailable(/private key/));
    else await expectRefusal(attempt, expected);
  });
});

describe('whose identity it is', () => {
  const arm = (type: string) => `/subscriptions/${SUBSCRIPTION}/resourcegroups/agents/providers/${type}`;
  test.each<[string, object, RegExp]>([
    ['an application with a secret', { xms_mirid: undefined }, /xms_mirid is missing/],
    ['a user', { sub: 'pairwise', xms_mirid: arm('Microsoft.Compute/virtualMachines/x') }, /sub is not oid/],
    ['no object', { oid: undefined }, /oid is missing/],
    ['a web application', { xms_mirid: arm('Microsoft.Web/sites/x') }, /is no virtual machine/],
    [
      'a machine outside Azure',
      { xms_mirid: arm('Microsoft.HybridCompute/machines/x') },
      /is no virtual machine/,
    ],
    [
      'a resource below a VM',
      { xms_mirid: arm('Microsoft.Compute/virtualMachines/x/extensions/y') },
      /is no virtual machine/,
    ],
    ['two machines', { xms_az_rid: arm('Microsoft.Compute/virtualMachines/other') }, /neither the machine/],
    [
      'C57 a resource below another one that ends as an identity does',
      {
        xms_mirid: `${arm('Microsoft.Foreign/things/x')}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/y`,
        xms_az_rid: arm('Microsoft.Compute/virtualMachines/x'),
      },
      /neither the machine/,
    ],
    [
      'a VM without a name',
      { xms_mirid: arm('Microsoft.Compute/virtualMachines/') },
      /is no virtual machine/,
    ],
    [
      'a VM under a path of another shape',
      { xms_mirid: arm('Microsoft.Compute/virtualMachines/x').replace('subscriptions', 'tenants') },
      /is no virtual machine/,
    ],
    [
      'a newline in the name',
      { xms_mirid: `${arm('Microsoft.Compute/virtualMachines/x')}\n` },
      /characters that a name must not have/,
    ],
    [
      'a user-assigned one on no machine',
      { xms_mirid: arm('Microsoft.ManagedIdentity/userAssignedIdentities/x') },
      /is no virtual machine/,
    ],
  ])('%s is refused', async (_, changes, says) => {
    await expectRefusal(attempt(changes), D(says));
  });

  test('a subscription or a resource group that is not listed', async () => {
    const elsewhere = makeVm('x', { subscription: OTHER_SUBSCRIPTION });
    await expectRefusal(from(elsewhere, elsewhere), D(/subscription 99999999-.* may not join/));
    const tenants = { [TENANT]: { subscriptions: [SUBSCRIPTION], resourceGroups: ['others'] } };
    await expectRefusal(attempt({}, {}, { tenants }), D(/resource group agents may not join/));
  });

  test('a user-assigned identity speaks for the machine that it is on', async () => {
    const resource = `${arm('Microsoft.ManagedIdentity/userAssignedIdentities')}/Billing`;
    const vm = makeVm('Shared-0');
    const [own] = vm.identities;
    const shared = { ...world.identity, principalId: randomUUID(), resource, machine: own?.resource ?? '' };
    const facts = await from({ ...vm, identities: [shared] }, vm);
    expect(facts).toMatchObject({
      node: vm.vmId,
      attributes: { vmName: 'shared-0', identity: resource.toLowerCase() },
    });
  });
});

describe('that both are of one VM', () => {
  test('another subscription’s document', async () => {
    const elsewhere = makeVm('x', { subscription: OTHER_SUBSCRIPTION });
    for (const sameVm of ['pinned', 'subscription'])
      await expectRefusal(
        from(makeVm('y'), elsewhere, { sameVm }),
        U('azure_vm', /token is of subscription 0b1f6471-.*, the document of 99999999-/),
      );
  });

  test('pinned: a token taken to another VM of the subscription, once its own VM has joined', async () => {
    const [one, other] = [makeVm('one'), makeVm('other')];
    await from(one, one);
    await expectRefusal(
      from(one, other),
      U(
        'azure_vm',
        new RegExp(`/virtualmachines/one came with vmId ${one.vmId} first, and now with ${other.vmId}$`),
      ),
    );
    expect(await from(one, one), 'and the first stays').toMatchObject({ node: one.vmId });
    expect(await from(other, other)).toMatchObject({ node: other.vmId });
  });

  test('pinned: a VM that was made again under its name has another identity, and joins', async () => {
    const first = makeVm('again');
    await from(first, first);
    const second = makeVm('again');
    expect(await from(second, second)).toMatchObject({ node: second.vmId });
  });

  test('pinned: what was refused before is not remembered', async () => {
    const vm = makeVm('later');
    const wrong = {
      token: token({ aud: 'x' }, {}, vm),
      document: (nonce: string) => documentFor(world, { nonce }, makeVm('y')),
    };
    await expectRefusal(attestVm(world, world.attestor(), wrong), U('jwt_aud', /x/));
    expect(await from(vm, vm)).toMatchObject({ node: vm.vmId });
  });

  test('a scale set is no one VM: refused where names are pinned, told as a set where they are not', async () => {
    const set = `/subscriptions/${SUBSCRIPTION}/resourcegroups/agents/providers/Microsoft.Compute/virtualMachineScaleSets/Workers`;
    const changes = { xms_mirid: set, xms_az_rid: set };
    await expectRefusal(attempt(changes), U('azure_vm', /is a scale set, no one VM/));
    const facts = await attempt(changes, {}, { sameVm: 'subscription' });
    expect(facts.attributes).toMatchObject({ scaleSet: 'workers', vmId: world.vm.vmId });
    expect(facts.attributes).not.toHaveProperty('vmName');
  });

  test('by subscription only: the name is the token’s word, as the documentation says', async () => {
    const [one, other] = [makeVm('one'), makeVm('other')];
    const facts = await from(one, other, { sameVm: 'subscription' });
    expect(facts).toMatchObject({ node: other.vmId, attributes: { vmName: 'one' } });
  });
});

describe('evidence that was captured', () => {
  const nonces = { first: new Uint8Array(32).fill(1), later: new Uint8Array(32).fill(2) };
  test.each([
    ['with another key, in the same exchange even', false, nonces.first],
    ['with another key, in a later exchange', false, nonces.later],
    ['with the same key, in a later exchange', true, nonces.later],
  ])('all that the VM sent is refused %s', async (_, same, nonce) => {
    const key = await proven();
    const sent: Uint8Array[] = [];
    const document = (digits: string): Uint8Array => {
      const made = documentFor(world, { nonce: digits });
      sent.push(packAzureAnswer({ token: utf8(genuine), document: made }));
      return made;
    };
    const genuine = token();
    await attestVm(world, world.attestor(), { key, nonce: nonces.first, token: genuine, document });
    const [answer = new Uint8Array()] = sent;
    const again = { key: same ? key : await proven(), nonce, answer };
    await expectRefusal(attestVm(world, world.attestor(), again), U('nonce_mismatch', /another nonce/));
  });

  test('something that is said before it was asked for', async () => {
    const attempt = attestVm(world, world.attestor(), { opening: 'x' });
    await expectRefusal(attempt, I('evidence_parse', /the first message of an Azure VM must be empty/));
  });
});

test('C44 no refusal tells the token or the document', async () => {
  const spoils: [object, JwsParts?][] = [
    [{ aud: 'x' }],
    [{ iss: 'x' }],
    [{ xms_mirid: 'x' }],
    [{}, { header: { crit: [] } }],
    [{ exp: 1 }],
  ];
  for (const [changes, parts] of spoils) {
    const made = token(changes, parts);
    const error: Error = await attestVm(world, world.attestor(), { token: made }).then(
      () => expect.fail('it passed'),
      (thrown) => thrown,
    );
    const said = `${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
    expect(made.split('.').filter((part) => said.includes(part))).toEqual([]);
  }
});
