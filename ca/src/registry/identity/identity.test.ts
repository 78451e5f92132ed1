import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import type { Facts } from './facts.ts';
import { compileIdentity, IdentityResource } from './identity.ts';

const trustDomain = parseTrustDomain('prod.example');
const genuine = {
  kind: 'Identity',
  name: 'pods',
  platform: 'kubernetes',
  id: 'spiffe://prod.example/ns/{zone}/sa/{account}',
  when: "zone in ['agents', 'tools']",
  x509: { ttl: '10m', dnsNames: ['{account}.{zone}.svc'] },
} as const;
const compiled = (changes: object = {}) =>
  compileIdentity(IdentityResource.parse({ ...genuine, ...changes }), trustDomain);

const facts: Facts = {
  platform: 'kubernetes',
  attributes: { zone: 'tools', account: 'github' },
};
const withAttributes = (attributes: Record<string, string>) => ({
  ...facts,
  attributes: { ...facts.attributes, ...attributes },
});

test('facts that fit earn a SPIFFE ID, its names and its lifetime', () => {
  expect(compiled().earn(facts)).toEqual({
    identity: 'pods',
    id: 'spiffe://prod.example/ns/tools/sa/github',
    ttlSeconds: 600,
    dnsNames: ['github.tools.svc'],
    keyReuse: false,
    crl: true,
    attributes: new Map(),
  });
});

test('the defaults are an hour, no DNS names and a fresh key', () => {
  const { when: _, x509: __, ...bare } = genuine;
  const earned = compileIdentity(IdentityResource.parse(bare), trustDomain).earn(facts);
  expect(earned).toMatchObject({ ttlSeconds: 3600, dnsNames: [], keyReuse: false, crl: true });
});

test('a certificate can be without the name of a list', () => {
  expect(compiled({ x509: { crl: false } }).earn(facts)).toMatchObject({ crl: false });
});

describe('what a certificate says', () => {
  const saying = (...attributes: string[]) => compiled({ x509: { attributes } });

  test('is what the Identity names, by full names, where it is attested', () => {
    const identity = saying('zone', 'kubernetes.account', 'node');
    const said = identity.earn(withAttributes({ image: 'x' })).attributes;
    expect([...said]).toEqual([
      ['kubernetes.zone', 'tools'],
      ['kubernetes.account', 'github'],
    ]);
  });

  test.each(['', 'x'.repeat(257), 'é'.repeat(129), 'a\nb', 'a\u202eb', 'a\ud800'])(
    'is not %j: such facts earn nothing',
    (image) => {
      const says = /^pods: x509.attributes: kubernetes.image is empty, longer than 256 bytes or not text$/;
      expect(() => saying('image').earn(withAttributes({ image }))).toThrow(refusal('no_identity', says));
    },
  );

  test('may be as long as it may be', () => {
    const image = 'é'.repeat(128);
    const { attributes } = saying('image').earn(withAttributes({ image }));
    expect(attributes.get('kubernetes.image')).toBe(image);
  });
});

describe('a resource is refused', () => {
  test.each<[string, object, Refusal, RegExp]>([
    [
      'whose certificate says what another platform proves',
      { x509: { attributes: ['aws.account'] } },
      'resource',
      /^\{aws.account\}: expected one of \{kubernetes/,
    ],
    [
      'whose certificate says what is not a name',
      { x509: { attributes: ['Zone'] } },
      'resource',
      /^x509.attributes: "kubernetes.Zone" is not the name of an attribute$/,
    ],
    [
      'whose certificate says a thing twice',
      { x509: { attributes: ['zone', 'kubernetes.zone'] } },
      'resource',
      /^x509.attributes names an attribute twice$/,
    ],
    [
      'of another trust domain',
      { id: 'spiffe://test.example/a' },
      'resource',
      /must start with spiffe:\/\/prod.example\//,
    ],
    ['whose trust domain is an attribute', { id: 'spiffe://{zone}/a' }, 'resource', /must start with/],
    [
      'of a trust domain that only begins alike',
      { id: 'spiffe://prod.example.org/a' },
      'resource',
      /must start with/,
    ],
    [
      'whose id nothing could fill',
      { id: 'spiffe://prod.example/a b/{zone}' },
      'spiffe_id',
      /characters outside/,
    ],
    ['whose id ends in a slash', { id: 'spiffe://prod.example/{zone}/' }, 'spiffe_id', /segment/],
    [
      'whose id has a brace of no attribute',
      { id: 'spiffe://prod.example/{}' },
      'resource',
      /expected \{attribute\} or text at column 23/,
    ],
    ['whose id has an open brace', { id: 'spiffe://prod.example/{zone' }, 'resource', /column 23/],
    [
      'with a lifetime that is none',
      { x509: { ttl: '10 minutes' } },
      'config',
      /"10 minutes" is not a length of time/,
    ],
    ['with a lifetime that is too short', { x509: { ttl: '4s' } }, 'resource', /between 5s and 1d; found 4s/],
    [
      'with a lifetime that is too long',
      { x509: { ttl: '25h' } },
      'resource',
      /between 5s and 1d; found 25h/,
    ],
    ['with a wildcard', { x509: { dnsNames: ['*.svc'] } }, 'resource', /"\*\.svc" is no DNS name/],
    ['with an empty DNS name', { x509: { dnsNames: [''] } }, 'resource', /"" is no DNS name/],
    [
      'with a word that CEL keeps for itself',
      { when: "namespace == 'a'" },
      'resource',
      /reserved identifier; write it with its platform, for instance kubernetes\.namespace$/,
    ],
    ['with a condition that is no CEL', { when: 'zone ==' }, 'resource', /when is not a CEL expression/],
  ])('%s', (_, changes, code, message) => {
    expect(() => compiled(changes)).toThrow(refusal(code, message));
  });

  test.each([
    ['a key that means nothing', { ttl: '1h' }, /[Uu]nrecognized key/],
    ['a certificate key that means nothing', { x509: { lifetime: '1h' } }, /[Uu]nrecognized key/],
    ['a name in upper case', { name: 'Pods' }, /lower-case letters/],
    ['a name that ends in a hyphen', { name: 'pods-' }, /inner hyphens/],
    ['seventeen DNS names', { x509: { dnsNames: new Array(17).fill('a') } }, /<=16/],
  ])('with %s', (_, changes, message) => {
    expect(() => IdentityResource.parse({ ...genuine, ...changes })).toThrow(message);
  });

  test.each(['5s', '1d'])('but not with a lifetime of %s', (ttl) => {
    expect(() => compiled({ x509: { ttl } })).not.toThrow();
  });
});

describe('attributes', () => {
  const cluster = { platform: 'kubernetes/eu-1', attributes: { 'kubernetes.namespace': 'tools' } };
  const tpm = { 'tpm.key': 'tpm' };

  test.each<[string, object, Facts, string]>([
    [
      'of an instance go by its kind',
      {
        platform: 'kubernetes/eu-1',
        id: 'spiffe://prod.example/{namespace}',
        when: "kubernetes.namespace == 'tools'",
      },
      cluster,
      'spiffe://prod.example/tools',
    ],
    [
      'with a dash in their kind have an underscore',
      { platform: 'aws-iam', id: 'spiffe://prod.example/{aws_iam.role}', when: 'aws_iam.role == role' },
      { platform: 'aws-iam', attributes: { 'aws_iam.role': 'r' } },
      'spiffe://prod.example/r',
    ],
    [
      'of several platforms go by their kinds',
      {
        platform: undefined,
        platforms: ['tpm', 'kubernetes/eu-1'],
        id: 'spiffe://prod.example/{kubernetes.namespace}/{tpm.key}',
        when: "tpm.key == 'tpm' && kubernetes.namespace == 'tools'",
      },
      { platform: 'kubernetes/eu-1+tpm', attributes: { ...cluster.attributes, ...tpm } },
      'spiffe://prod.example/tools/tpm',
    ],
    [
      'of more platforms than demanded do no harm',
      { platform: 'tpm', id: 'spiffe://prod.example/{key}', when: "key == 'tpm'" },
      { platform: 'kubernetes/eu-1+tpm', attributes: { ...cluster.attributes, ...tpm } },
      'spiffe://prod.example/tpm',
    ],
  ])('%s', (_, changes, given, id) => {
    expect(compiled({ x509: {}, ...changes }).earn(given).id).toBe(id);
  });

  test.each<[string, object, Facts, RegExp]>([
    [
      'one of its platforms is missing',
      {
        platform: undefined,
        platforms: ['tpm', 'kubernetes/eu-1'],
        id: 'spiffe://prod.example/a',
        when: undefined,
      },
      { platform: 'tpm', attributes: tpm },
      /^pods is for platform tpm and kubernetes\/eu-1, not tpm$/,
    ],
    [
      'it is another instance',
      { platform: 'kubernetes/us-1', id: 'spiffe://prod.example/a', when: undefined },
      cluster,
      /^pods is for platform kubernetes\/us-1, not kubernetes\/eu-1$/,
    ],
    [
      'another platform’s attribute goes by a bare name',
      { platform: 'tpm', id: 'spiffe://prod.example/{namespace}', when: undefined },
      { platform: 'kubernetes/eu-1+tpm', attributes: { ...cluster.attributes, ...tpm, namespace: 'tools' } },
      /needs \{namespace\}/,
    ],
  ])('earn nothing where %s', (_, changes, given, says) => {
    expect(() => compiled({ x509: {}, ...changes }).earn(given)).toThrow(refusal('no_identity', says));
  });

  test.each([
    ['both platform and platforms', { platforms: ['tpm', 'unix'] }, /not both/],
    ['neither', { platform: undefined }, /^platform is missing/],
    ['an invalid platform name', { platform: 'Kubernetes' }, /"Kubernetes" is not the name of a platform/],
    [
      'two platforms of a kind',
      { platform: undefined, platforms: ['kubernetes/a', 'kubernetes/b'] },
      /two of kubernetes\/a, kubernetes\/b are of one kind/,
    ],
    [
      'an attribute of a platform that it does not demand',
      { id: 'spiffe://prod.example/{tpm.key}' },
      /expected one of \{kubernetes\.…\}/,
    ],
    [
      'a bare attribute where several platforms speak',
      { platform: undefined, platforms: ['tpm', 'unix'], id: 'spiffe://prod.example/{key}' },
      /expected one of \{tpm\.…\}, \{unix\.…\}/,
    ],
  ])('are refused at load: %s', (_, changes, says) => {
    expect(() => compiled({ when: undefined, x509: {}, ...changes })).toThrow(refusal('resource', says));
  });
});

describe('facts earn nothing', () => {
  test.each<[string, Facts, Refusal, RegExp]>([
    [
      'from another platform',
      { ...facts, platform: 'unix' },
      'no_identity',
      /^pods is for platform kubernetes, not unix$/,
    ],
    [
      'where the condition is false',
      withAttributes({ zone: 'other' }),
      'no_identity',
      /^pods: when \(zone in .*\) is false$/,
    ],
    [
      'where the condition fails',
      { ...facts, attributes: { account: 'a' } },
      'no_identity',
      /when \(.*\) fails: /,
    ],
    [
      'where an attribute is missing',
      { ...facts, attributes: { zone: 'tools' } },
      'no_identity',
      /^pods: id needs \{account\}, which is not attested/,
    ],
    ['where an attribute is empty', withAttributes({ account: '' }), 'no_identity', /id needs \{account\}/],
    [
      'where an attribute chooses its path',
      withAttributes({ account: 'a/../admin' }),
      'no_identity',
      /id needs \{account\}/,
    ],
    [
      'where an attribute has a line break',
      withAttributes({ account: 'a\n' }),
      'no_identity',
      /id needs \{account\}/,
    ],
    ['where an attribute is a parent segment', withAttributes({ account: '..' }), 'spiffe_id', /segment/],
    [
      'where a name would be no DNS name',
      withAttributes({ account: 'Upper' }),
      'no_identity',
      /^pods: "Upper.tools.svc" is not a DNS name$/,
    ],
  ])('%s', (_, given, code, message) => {
    expect(() => compiled().earn(given)).toThrow(refusal(code, message));
  });

  test('where only a DNS name needs an attribute that is missing', () => {
    const identity = compiled({ x509: { dnsNames: ['{pod}.svc'] } });
    expect(() => identity.earn(facts)).toThrow(refusal('no_identity', /^pods: dnsNames needs \{pod\}/));
  });

  test('by what every object inherits', () => {
    const identity = compiled({ id: 'spiffe://prod.example/{constructor}' });
    expect(() => identity.earn(facts)).toThrow(refusal('no_identity', /needs \{constructor\}/));
  });

  test.each([
    ['a number', '1', /when \(1\) is not a boolean/],
    ['a string', "'true'", /is not a boolean/],
    ['an unknown function', 'admin(zone)', /fails|is not/],
    ['an attribute that is not there', "region == 'eu'", /fails: /],
  ])('where the condition is %s', (_, when, message) => {
    expect(() => compiled({ when }).earn(facts)).toThrow(refusal('no_identity', message));
  });
});

test('nearness counts the terms that hold', () => {
  expect(compiled().nearness({ ...facts, platform: 'unix' })).toBe(0);
  expect(compiled().nearness(withAttributes({ zone: 'other' }))).toBe(1);
  expect(compiled().nearness(facts)).toBe(2);
  expect(compiled({ when: undefined }).nearness(withAttributes({ zone: 'other' }))).toBe(2);
});
