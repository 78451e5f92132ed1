/**
 * What each stand-in refuses for a request's form alone: method, Accept, Content-Type, headers, parameters. A client
 * of ours that a stand-in lets through by mistake would fail at the real service.
 */
import { request as httpsRequest } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Directory } from '../kit/aws/directory.ts';
import { startImds } from '../kit/aws/imds.ts';
import { startKms } from '../kit/aws/kms.ts';
import { startOrganizations } from '../kit/aws/organizations.ts';
import { serveIssuers, startSts } from '../kit/aws/sts.ts';
import { type AzureWorld, startAzureWorld } from '../kit/azure/world.ts';
import { MovableClock } from '../kit/clock.ts';
import { startMetadata } from '../kit/gcp/metadata.ts';
import type { Served } from '../kit/http/served.ts';
import { type ApiServer, startApiServer } from '../kit/kubernetes/api-server.ts';
import { usernameOf } from '../kit/kubernetes/tokens.ts';
import { startIssuer, type TestIssuer } from '../kit/oidc/issuer.ts';

const directory = new Directory();
const clock = new MovableClock();
const clusterClock = new MovableClock();
const key = directory.user(directory.account('123456789012'), 'ci');
const instance = {
  project_id: 'p',
  project_number: 1,
  zone: 'z',
  instance_id: '2',
  instance_name: 'vm',
  instance_creation_timestamp: 1,
};
let azure: AzureWorld;
let issuer: TestIssuer;
let cluster: ApiServer;
let podToken: string;
const served = new Map<string, Served>();
beforeAll(async () => {
  azure = await startAzureWorld();
  issuer = await startIssuer({ now: () => clock.now() });
  const issuers = await serveIssuers(() => [account]);
  const account = directory.account('123456789013', { issuerUrl: `${issuers.url}/one` });
  served.set('aws issuer', issuers);
  served.set('sts', await startSts({ directory }));
  served.set('organizations', await startOrganizations({ directory, management: '123456789012' }));
  served.set('kms', await startKms({ directory }));
  served.set('imds', await startImds({ role: 'web', credentials: () => key }));
  const gcp = { instance, email: 'a@b', token: () => 'token', now: () => clock.now() };
  served.set('metadata', await startMetadata(gcp));
  served.set('oidc', issuer.served);
  served.set('azure', azure.imds);
  served.set('entra', azure.entra.served);
  cluster = await startApiServer({ clock: clusterClock });
  const [name, ca] = [usernameOf('chancery', 'ca'), cluster.cluster.addAccount('chancery', 'ca')];
  cluster.allow(name, 'create tokenreviews', 'get pods', 'create serviceaccounts/token chancery/ca');
  const pod = cluster.cluster.addPod(ca, 'ca-0', cluster.cluster.addNode('n'));
  podToken = cluster.cluster.tokenFor(pod, [cluster.cluster.issuer], 3600);
});
afterAll(async () => {
  await azure.close();
  await Promise.all([...served.values(), cluster].map((each) => each.close()));
});

const GOOGLE = { 'metadata-flavor': 'Google' };
const AZURE = { metadata: 'true' };
const TENANT_KEYS = '/8d10da13-8125-4ba9-a717-bf7490507b3d/discovery/keys';
const IDENTITY = '/computeMetadata/v1/instance/service-accounts/default/identity?audience=a';
const DOCUMENT = '/metadata/attested/document?api-version=2021-02-01';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const XML = { accept: 'text/xml' };
const post = (headers: Record<string, string>, body = '{}'): RequestInit => ({
  method: 'POST',
  headers,
  body,
});

test.each<[string, string, string, RequestInit, number, RegExp]>([
  ['oidc', 'POST for keys', '/jwks', { method: 'POST' }, 405, /POST/],
  ['oidc', 'keys as XML', '/jwks', { headers: XML }, 406, /application\/json/],
  ['oidc', 'a parameter that it does not know', '/jwks?kid=1', {}, 400, /kid/],
  ['aws issuer', 'keys as XML', '/one/.well-known/jwks.json', { headers: XML }, 404, /^$/],
  ['aws issuer', 'POST for keys', '/one/.well-known/jwks.json', { method: 'POST' }, 404, /^$/],
  ['entra', 'POST for keys', TENANT_KEYS, { method: 'POST' }, 405, /POST/],
  ['entra', 'keys as XML', TENANT_KEYS, { headers: XML }, 406, /application\/json/],
  ['azure', 'DELETE', DOCUMENT, { method: 'DELETE', headers: AZURE }, 405, /not allowed/],
  ['azure', 'a misspelt nonce', `${DOCUMENT}&nonse=1`, { headers: AZURE }, 400, /nonse/],
  ['azure', 'a nonce twice', `${DOCUMENT}&nonce=1234567890&nonce=1`, { headers: AZURE }, 400, /nonce/],
  ['metadata', 'POST', IDENTITY, { method: 'POST', headers: GOOGLE }, 405, /POST/],
  ['metadata', 'no flavor', IDENTITY, {}, 403, /Metadata-Flavor/],
  ['metadata', 'two audiences', `${IDENTITY}&audience=b`, { headers: GOOGLE }, 400, /audience/],
  ['imds', 'DELETE', '/latest/api/token', { method: 'DELETE' }, 405, /^$/],
  ['imds', 'a parameter', '/latest/api/token?a=1', { method: 'PUT' }, 400, /^$/],
  ['sts', 'PUT', '/', { method: 'PUT' }, 405, /^$/],
  ['sts', 'JSON for a form', '/', post({ 'content-type': 'application/json' }), 400, /urlencoded is what/],
  ['organizations', 'GET', '/', {}, 400, /UnknownOperation/],
  ['organizations', 'another JSON', '/', post({ 'content-type': 'application/json' }), 400, /UnknownOp/],
  ['kms', 'GET', '/', {}, 400, /UnknownOperation/],
  ['kms', 'another JSON', '/', post({ 'content-type': 'application/json' }), 400, /UnknownOp/],
  ['kms', 'no signature', '/', post({ 'content-type': 'application/x-amz-json-1.1' }), 403, /MissingAuth/],
])('%s refuses %s', async (name, _, path, init, status, says) => {
  const reply = await fetch(`${served.get(name)?.url}${path}`, init);
  expect([reply.status, await reply.text()]).toEqual([status, expect.stringMatching(says)]);
});

test('sts does not sign for a form that it cannot read', async () => {
  const reply = await fetch(`${served.get('sts')?.url}/`, post(FORM, 'Action=GetCallerIdentity'));
  expect(await reply.text()).toMatch(/MissingAuthenticationToken/);
});

describe('the API server refuses', () => {
  const REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews';
  const TOKEN = '/api/v1/namespaces/chancery/serviceaccounts/ca/token';
  const json = { 'content-type': 'application/json' };

  test.each<[string, string, string, Record<string, string>, string, number]>([
    ['keys as JSON', 'GET', '/openid/v1/jwks', { accept: 'application/json' }, '', 406],
    ['keys as any application', 'GET', '/openid/v1/jwks', { accept: 'application/*' }, '', 406],
    ['discovery as a JWK set', 'GET', '/.well-known/openid-configuration', { accept: 'text/html' }, '', 406],
    ['a review as XML', 'POST', REVIEWS, { ...json, accept: 'text/xml' }, '{"spec":{}}', 406],
    ['a review as a form', 'POST', REVIEWS, FORM, '{"spec":{}}', 415],
    ['a review of another kind', 'POST', REVIEWS, json, '{"kind":"TokenRequest","spec":{}}', 400],
    ['what is not JSON', 'POST', REVIEWS, json, '{', 400],
    ['a parameter that it does not know', 'POST', `${REVIEWS}?dry=1`, json, '{"spec":{}}', 400],
    ['a token request as a form', 'POST', TOKEN, FORM, '{"spec":{}}', 415],
    ['a review by GET', 'GET', REVIEWS, json, '', 403],
    ['another scheme than Bearer', 'POST', REVIEWS, { ...json, authorization: 'Basic eDp5' }, '{}', 403],
  ])('%s', async (_, method, path, headers, body, status) => {
    const sent = { authorization: `Bearer ${podToken}`, ...headers };
    expect(await ask(`${cluster.url}${path}`, { method, headers: sent, body })).toMatchObject({ status });
  });
});

test.each([
  ['a JWK set', 'application/jwk-set+json'],
  ['whatever there is', '*/*'],
  ['a list with qualities', 'application/json, application/jwk-set+json;q=0.5'],
])('the API server writes its keys for a client that accepts %s', async (_, accept) => {
  const headers = { authorization: `bearer ${podToken}`, accept };
  expect(await ask(`${cluster.url}/openid/v1/jwks`, { method: 'GET', headers, body: '' })).toEqual({
    status: 200,
    type: 'application/jwk-set+json',
  });
});

const ask = (
  url: string,
  { method, headers, body }: { method: string; headers: Record<string, string>; body: string },
): Promise<{ status: number | undefined; type: string | undefined }> =>
  new Promise((resolve, reject) => {
    const sent = httpsRequest(url, { method, headers, ca: cluster.caPem, agent: false }, (reply) => {
      reply.resume();
      resolve({ status: reply.statusCode, type: reply.headers['content-type'] });
    });
    sent.on('error', reject);
    sent.end(body);
  });
