import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import type { AttestorDeps } from './attestor.ts';
import { AttestorsConfig, attestorsFrom } from './index.ts';

const files: Record<string, string> = {
  'empty.pem': '',
  'key.pem': '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
  'broken.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
};

const deps: AttestorDeps = {
  trustDomain: parseTrustDomain('prod.example'),
  memory: { advance: async () => {}, bind: async () => {} },
  outbound: { request: () => Promise.reject(new Error('nothing is asked at load')), close() {} },
  clock: systemClock,
  log: silentLog,
  readFile(path) {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return utf8(text);
  },
};

test('makes those that are configured', async () => {
  expect(await attestorsFrom(AttestorsConfig.parse({}), deps)).toEqual([]);
  expect(await attestorsFrom(AttestorsConfig.parse({ unix: {} }), deps)).toMatchObject([{ type: 'unix' }]);
});

test.each([
  { file: 'none.pem', says: 'ENOENT' },
  { file: 'empty.pem', says: 'no PEM block CERTIFICATE' },
  { file: 'key.pem', says: 'is "PUBLIC KEY", not CERTIFICATE' },
  { file: 'broken.pem', says: 'certificate' },
])('refuses at load a root file that is not a certificate: $file', async ({ file, says }) => {
  const load = () => attestorsFrom(AttestorsConfig.parse({ tpm: { roots: [file] } }), deps);
  await expect(load).rejects.toThrow(IdentityError);
  await expect(load).rejects.toThrow(
    expect.objectContaining({ code: 'config', message: expect.stringContaining(says) }),
  );
  await expect(load).rejects.toThrow(`attestors.tpm: ${file}: `);
});

const cluster = { issuer: 'https://cluster.example' };
const tenants = {
  '8d10da13-8125-4ba9-a717-bf7490507b3d': { subscriptions: ['d2b0ab8a-8a55-4e33-8d62-7b0b7a2dd0a1'] },
};
const ofTokens = { url: 'https://one.tokens.sts.global.api.aws', account: '123456789012' };
test.each([
  ['tpm', { tpm: { roots: ['given'] } }],
  ['azure', { azure: { tenants, roots: ['given'], sameVm: 'pinned' } }],
  ['oidc/ci', { oidc: { ci: { issuer: 'https://ci.example', claims: { sub: ['x'] }, jwks: 'given' } } }],
  ['oidc/ci', { oidc: { ci: { issuer: 'https://ci.example', claims: { sub: ['x'] }, ca: 'given' } } }],
  ['kubernetes/eu-1', { kubernetes: { 'eu-1': { jwks: { ...cluster, file: 'given' } } } }],
  ['kubernetes/eu-1', { kubernetes: { 'eu-1': { jwks: { ...cluster, ca: 'given' } } } }],
  ['kubernetes/eu-1.review', { kubernetes: { 'eu-1': { review: { kubeconfig: 'given' } } } }],
  ['aws-web-identity', { 'aws-web-identity': { issuers: [{ ...ofTokens, jwks: 'given' }] } }],
])('a damaged file is named: attestors.%s of %j', async (where, config) => {
  const load = attestorsFrom(AttestorsConfig.parse(config), { ...deps, readFile: () => utf8('{') });
  await expect(load).rejects.toEqual(
    refusal('config', new RegExp(`^attestors\\.${where}: (kubeconfig )?given: .`)),
  );
});

const tpm = { roots: ['root.pem'] };
const iam = { accounts: ['123456789012'], regions: ['eu-west-1'] };
const issuer = { url: 'https://one.tokens.sts.global.api.aws', account: '123456789012' };
const web = { issuers: [issuer] };
const role = 'arn:aws:sts::123456789012:assumed-role';
const value = '00'.repeat(32);

test.each([
  { name: 'no roots', config: { tpm: { roots: [] } }, says: '>=1 items' },
  {
    name: 'C18 instance identity documents',
    config: { 'aws-iid': {} },
    says: 'use aws-web-identity or aws-iam instead',
  },
  {
    name: 'any account',
    config: { 'aws-iam': { ...iam, accounts: ['*'] } },
    says: ' is not an account: write 12 digits, each account out',
  },
  {
    name: 'an account as a number',
    config: { 'aws-iam': { ...iam, accounts: [123456789012] } },
    says: 'write the account in quotes',
  },
  { name: 'no accounts', config: { 'aws-iam': { ...iam, accounts: [] } }, says: '>=1 items' },
  {
    name: 'a region that is none',
    config: { 'aws-iam': { ...iam, regions: ['evil.com/'] } },
    says: ' is not a region: write those',
  },
  { name: 'no regions', config: { 'aws-iam': { ...iam, regions: [] } }, says: '>=1 items' },
  {
    name: 'a pattern for any account',
    config: { 'aws-iam': { ...iam, arns: ['arn:aws:sts::*:assumed-role/web'] } },
    says: 'write the account out: 12 digits, no wildcard',
  },
  {
    name: 'a pattern for any partition',
    config: { 'aws-iam': { ...iam, arns: ['arn:*:sts::123456789012:assumed-role/web'] } },
    says: 'a wildcard is for names only',
  },
  {
    name: 'a pattern that is no ARN',
    config: { 'aws-iam': { ...iam, arns: ['web-*'] } },
    says: 'write ARNs, such as arn:aws:sts::123456789012:assumed-role/web',
  },
  {
    name: 'a pattern over the session',
    config: { 'aws-iam': { ...iam, arns: [`${role}/web/i-*`] } },
    says: 'the session is chosen by the caller',
  },
  {
    name: 'a pattern with a path',
    config: { 'aws-iam': { ...iam, arns: ['arn:aws:iam::123456789012:role/team/web'] } },
    says: 'write arn:aws:sts::123456789012:assumed-role/NAME',
  },
  {
    name: 'a pattern of another kind',
    config: { 'aws-iam': { ...iam, arns: ['arn:aws:iam::123456789012:group/web'] } },
    says: ' is not one of assumed-role',
  },
  {
    name: 'a pattern of an account that is not listed',
    config: { 'aws-iam': { ...iam, arns: ['arn:aws:sts::999999999999:assumed-role/web'] } },
    says: 'of an account that is not listed',
  },
  {
    name: 'plain HTTP to another machine',
    config: { 'aws-iam': { ...iam, endpoint: 'http://sts.example' } },
    says: 'http is for loopback only',
  },
  {
    name: 'an organisation that is none',
    config: { 'aws-iam': { ...iam, organization: { id: '*' } } },
    says: 'an organisation is ',
  },
  {
    name: 'an issuer twice',
    config: { 'aws-web-identity': { issuers: [issuer, issuer] } },
    says: 'is listed twice',
  },
  {
    name: 'an issuer over plain HTTP',
    config: { 'aws-web-identity': { issuers: [{ ...issuer, url: 'http://one.example' }] } },
    says: 'http is for loopback only',
  },
  {
    name: 'an issuer of any account',
    config: { 'aws-web-identity': { issuers: [{ ...issuer, account: '*' }] } },
    says: 'is not an account',
  },
  {
    name: 'a tag under the name of a proven attribute',
    config: { 'aws-web-identity': { ...web, tags: { account: 'x' } } },
    says: 'an attribute that AWS proves itself',
  },
  {
    name: 'a pattern of an account without an issuer',
    config: { 'aws-web-identity': { ...web, arns: ['arn:aws:iam::999999999999:role/web'] } },
    says: 'of an account that is not listed',
  },
  {
    name: 'T25 PCR 16',
    config: { tpm: { ...tpm, pcrs: { 16: [value] } } },
    says: 'PCR 16 can be reset by any software',
  },
  {
    name: 'T25 PCR 23',
    config: { tpm: { ...tpm, pcrs: { 23: [value] } } },
    says: 'write one of 0 to 15 or 17 to 22 instead',
  },
  {
    name: 'PCR 24',
    config: { tpm: { ...tpm, pcrs: { 24: [value] } } },
    says: 'a PCR is a number from 0 to 23',
  },
  {
    name: 'a PCR by another spelling',
    config: { tpm: { ...tpm, pcrs: { '07': [value] } } },
    says: 'a PCR is a number',
  },
  {
    name: 'a SHA-1 value',
    config: { tpm: { ...tpm, pcrs: { 7: ['00'.repeat(20)] } } },
    says: '64 lower-case hexadecimal',
  },
  {
    name: 'a value in capitals',
    config: { tpm: { ...tpm, pcrs: { 7: ['AA'.repeat(32)] } } },
    says: '64 lower-case hexadecimal',
  },
  { name: 'a PCR that may hold nothing', config: { tpm: { ...tpm, pcrs: { 7: [] } } }, says: '>=1 items' },
  {
    name: 'an event log that is not required',
    config: { tpm: { ...tpm, eventLog: 'optional' } },
    says: 'required',
  },
  { name: 'an unknown key', config: { tpm: { ...tpm, root: 'x' } }, says: 'Unrecognized key' },
  { name: 'an unknown platform', config: { tpn: tpm }, says: 'Unrecognized key' },
])('refuses a config with $name', ({ config, says }) => {
  expect(JSON.stringify(AttestorsConfig.safeParse(config).error?.issues)).toContain(says);
});
