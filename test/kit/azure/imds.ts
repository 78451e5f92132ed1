/** A stand-in for one VM's instance metadata service: managed-identity tokens and attested documents. */
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { type SignerRecipe, signedData, signerInfo } from './cms.ts';
import type { Entra, ManagedIdentity } from './entra.ts';
import type { DocumentSigners } from './signers.ts';

export interface Vm {
  readonly vmId: string;
  readonly subscription: string;
  readonly resourceGroup: string;
  readonly name: string;
  readonly identities: readonly ManagedIdentity[];
}

export interface ImdsOptions {
  readonly vm: Vm;
  readonly entra: Entra;
  readonly signers: DocumentSigners;
  readonly now: () => Date;
  /** Applications that the tenant knows, by App ID URI. */
  readonly applications: readonly string[];
  readonly port?: number;
  /** How many requests one VM may make each second, tokens apart; by default 5, as at Azure. */
  readonly queriesPerSecond?: number;
}

export interface Imds extends Served {
  /** From now on the next documents are the one that was given last, whatever is asked. */
  keepDocuments(count: number): void;
}

/** Azure's document lives six hours. */
const DOCUMENT_SECONDS = 6 * 3600;
const QUERIES_PER_SECOND = 5;
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  '/metadata/identity/oauth2/token': [
    'api-version',
    'resource',
    'client_id',
    'object_id',
    'msi_res_id',
    'bypass_cache',
  ],
  '/metadata/attested/document': ['api-version', 'nonce'],
  '/metadata/instance/compute': ['api-version', 'format'],
};
const VERSIONS = /^(2018-02-01|2018-10-01|2019-\d\d-\d\d|202\d-\d\d-\d\d)$/;

export async function startAzureImds(options: ImdsOptions): Promise<Imds> {
  const { now, port = 0 } = options;
  const state: State = { tokens: new Map(), queries: [], kept: 0, last: undefined };
  const served = await serve((received) => answer(received, options, state), { now, port });
  return {
    ...served,
    keepDocuments: (count) => {
      state.kept = count;
    },
  };
}

interface State {
  readonly tokens: Map<string, { readonly token: string; readonly until: number }>;
  queries: number[];
  kept: number;
  last: Uint8Array | undefined;
}

function answer(received: Received, options: ImdsOptions, state: State): Answer {
  const { method, target, headers } = received;
  const url = new URL(target, 'http://imds');
  if (method !== 'GET') return failure(405, 'Method not allowed');
  if (headers.get('metadata')?.[0]?.toLowerCase() !== 'true')
    return failure(400, 'invalid_request', 'Required metadata header not specified');
  if (headers.has('x-forwarded-for'))
    return failure(400, 'invalid_request', 'X-Forwarded-For is not allowed');
  if (!VERSIONS.test(url.searchParams.get('api-version') ?? '')) {
    const says = 'Bad request. api-version is invalid or was not specified in the request.';
    return json(400, { error: says, 'newest-versions': ['2021-02-01'] });
  }
  // Microsoft's client puts a slash at the end where the host is not the usual one.
  const path = url.pathname.replace(/\/$/, '');
  const parameters = PARAMETERS[path];
  const fault = parameters && faultOf(received, { parameters });
  if (fault !== undefined) return failure(fault.status, 'invalid_request', fault.says);
  if (path === '/metadata/identity/oauth2/token') return giveToken(url.searchParams, options, state);
  if (isTooMany(state, options)) return failure(429, 'Too many requests');
  if (url.pathname === '/metadata/attested/document') return giveDocument(url.searchParams, options, state);
  if (url.pathname !== '/metadata/instance/compute') return failure(404, 'Not found');
  const { vmId, subscription: subscriptionId, resourceGroup: resourceGroupName, name } = options.vm;
  return json(200, { azEnvironment: 'AzurePublicCloud', vmId, subscriptionId, resourceGroupName, name });
}

function isTooMany(
  state: State,
  { now, queriesPerSecond = QUERIES_PER_SECOND }: Pick<ImdsOptions, 'now' | 'queriesPerSecond'>,
): boolean {
  const time = now().getTime();
  state.queries = [...state.queries.filter((each) => each > time - 1000), time];
  return state.queries.length > queriesPerSecond;
}

/** The answer to a VM's question is kept, for half of the token's life. */
function giveToken(
  query: URLSearchParams,
  { vm, entra, applications, now }: ImdsOptions,
  state: State,
): Answer {
  const resource = query.get('resource');
  if (resource === null)
    return failure(400, 'invalid_request', "Required query variable 'resource' is missing");
  const clientId = query.get('client_id');
  const [identity, ...others] = vm.identities.filter(
    (each) => clientId === null || each.clientId === clientId,
  );
  if (identity === undefined) return failure(400, 'invalid_request', 'Identity not found');
  if (others.length > 0)
    return failure(
      400,
      'invalid_request',
      'Multiple user assigned identities exist, please specify the clientId / resourceId of the identity',
    );
  if (!applications.includes(resource)) {
    const says = `AADSTS500011: The resource principal named ${resource} was not found in the tenant named test.`;
    return failure(400, 'invalid_resource', says);
  }
  const key = `${identity.clientId} ${resource}`;
  const kept = state.tokens.get(key);
  const fresh = kept !== undefined && kept.until > now().getTime();
  const token = fresh ? kept.token : entra.token(identity, resource);
  if (!fresh) state.tokens.set(key, { token, until: now().getTime() + DAY_MS / 2 });
  const seconds = Math.floor(now().getTime() / 1000);
  return json(200, {
    access_token: token,
    client_id: identity.clientId,
    expires_in: '86399',
    expires_on: String(seconds + 86_399),
    ext_expires_in: '86399',
    not_before: String(seconds),
    resource,
    token_type: 'Bearer',
  });
}

const DAY_MS = 86_400_000;

function giveDocument(query: URLSearchParams, options: ImdsOptions, state: State): Answer {
  const nonce = query.get('nonce') ?? utcStamp(options.now());
  if (query.has('nonce') && !/^[0-9]{10}$/.test(nonce)) return failure(400, 'Bad request. nonce is invalid.');
  let document = state.last;
  if (state.kept === 0 || document === undefined) document = documentOf(options, { nonce });
  else state.kept -= 1;
  state.last = document;
  return json(200, { encoding: 'pkcs7', signature: Buffer.from(document).toString('base64') });
}

export interface DocumentRecipe {
  readonly nonce: string;
  /** Of the JSON; undefined drops one. */
  readonly changes?: object;
  /** Text instead of the JSON. */
  readonly text?: string;
  readonly signer?: Partial<SignerRecipe>;
  readonly certificates?: readonly Uint8Array[];
}

type Source = Pick<ImdsOptions, 'vm' | 'signers' | 'now'>;

/** In Azure's shape: one certificate, no signed attributes. */
export function documentOf({ vm, signers, now }: Source, recipe: DocumentRecipe): Uint8Array {
  const { leaf } = signers;
  const content = Buffer.from(
    recipe.text ?? JSON.stringify({ ...contentOf(vm, recipe.nonce, now()), ...recipe.changes }),
  );
  const info = signerInfo({ content, ...leaf, ...recipe.signer });
  return signedData({
    content,
    certificates: recipe.certificates ?? [leaf.certificate.der],
    signers: [info],
  });
}

export const contentOf = ({ vmId, subscription }: Vm, nonce: string, now: Date) => ({
  licenseType: '',
  nonce,
  plan: { name: '', product: '', publisher: '' },
  sku: '24_04-lts-gen2',
  subscriptionId: subscription,
  timeStamp: { createdOn: stamp(now), expiresOn: stamp(new Date(now.getTime() + DOCUMENT_SECONDS * 1000)) },
  vmId,
});

/** "11/20/26 22:07:39 -0000". */
export function stamp(time: Date): string {
  const [, year, month, day, clock] = /^..(..)-(..)-(..)T(.{8})/.exec(time.toISOString()) ?? [];
  return `${month}/${day}/${year} ${clock} -0000`;
}

/** "20261120-220739", the nonce where none was asked for. */
const utcStamp = (time: Date): string =>
  time.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');

const failure = (status: number, error: string, description?: string): Answer =>
  json(status, { error, ...(description === undefined ? {} : { error_description: description }) });

const json = (status: number, value: object): Answer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify(value),
});
