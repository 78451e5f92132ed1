/** An Azure tenant with a VM that may join, a CA's attestor for it, and an exchange between the two. */
import { randomUUID } from 'node:crypto';
import { AzureEvidenceConfig, azureEvidence } from '@chancery/agent/evidence/azure.ts';
import type { EvidenceDeps } from '@chancery/agent/evidence/evidence.ts';
import type { Attestor, Facts } from '@chancery/ca/attestors/attestor.ts';
import { AzureConfig } from '@chancery/ca/attestors/azure/config.ts';
import { azureAttestor } from '@chancery/ca/attestors/azure.ts';
import { nodeMemory } from '@chancery/ca/store/node-memory.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import { nonceOf, packAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { type Outbound, type OutboundRequest, openOutbound } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { proven } from '../ca/authority.ts';
import { MovableClock } from '../clock.ts';
import { memoryStore } from '../store/memory-store.ts';
import { type Entra, type ManagedIdentity, startEntra } from './entra.ts';
import { type DocumentRecipe, documentOf, type Imds, startAzureImds, type Vm } from './imds.ts';
import { type DocumentSigners, makeDocumentSigners } from './signers.ts';

const TRUST_DOMAIN = parseTrustDomain('test.example');
export const AUDIENCE = 'https://test.example/chancery';
export const TENANT = '8d10da13-8125-4ba9-a717-bf7490507b3d';
export const SUBSCRIPTION = '0b1f6471-1bf0-4dda-aec3-cb9272f09590';

export interface AzureWorld {
  readonly clock: MovableClock;
  readonly entra: Entra;
  readonly signers: DocumentSigners;
  readonly imds: Imds;
  readonly vm: Vm;
  readonly identity: ManagedIdentity;
  readonly store: Store;
  /** What the CA's file readers find. */
  readonly files: Map<string, string>;
  /** Everything that the CA has asked anybody for. */
  readonly called: OutboundRequest[];
  /** `config` overrides the keys of one that lets the VM in. */
  attestor(config?: object, log?: Log): Attestor;
  close(): Promise<void>;
}

/** A system-assigned identity's, unless it is told to be a shared one. */
export function makeVm(name: string, changes: Partial<Vm> = {}): Vm {
  const resourceGroup = changes.resourceGroup ?? 'agents';
  const subscription = changes.subscription ?? SUBSCRIPTION;
  const resource = machineId({ subscription, resourceGroup, name });
  const identity = { tenant: TENANT, principalId: randomUUID(), clientId: randomUUID(), resource };
  return { vmId: randomUUID(), subscription, resourceGroup, name, identities: [identity], ...changes };
}

export const machineId = ({
  subscription,
  resourceGroup,
  name,
}: Pick<Vm, 'subscription' | 'resourceGroup' | 'name'>) =>
  `/subscriptions/${subscription}/resourcegroups/${resourceGroup}/providers/Microsoft.Compute/virtualMachines/${name}`;

export async function startAzureWorld(): Promise<AzureWorld> {
  const clock = new MovableClock();
  const now = () => clock.now();
  const entra = await startEntra(now);
  const signers = makeDocumentSigners(now());
  const vm = makeVm('billing-0');
  const imds = await startAzureImds({ vm, entra, signers, now, applications: [AUDIENCE] });
  const [identity] = vm.identities;
  if (identity === undefined) throw new Error('no identity');
  const files = new Map([
    ['root.pem', signers.rootPem],
    ['issuing.pem', signers.issuingPem],
  ]);
  const store = await memoryStore(clock);
  const called: OutboundRequest[] = [];
  const outbound = recording(openOutbound(), called);
  const readFile = (path: string): Uint8Array => {
    const text = files.get(path);
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return utf8(text);
  };
  return {
    clock,
    entra,
    signers,
    imds,
    vm,
    identity,
    store,
    files,
    called,
    attestor: (config = {}, log = silentLog) => {
      const whole = AzureConfig.parse({ ...letsIn(entra), ...config });
      return azureAttestor(whole, {
        clock,
        log,
        outbound,
        memory: nodeMemory(store),
        trustDomain: TRUST_DOMAIN,
        readFile,
      });
    },
    close: async () => {
      outbound.close();
      await store.close();
      await imds.close();
      await entra.close();
    },
  };
}

export const letsIn = ({ served }: Pick<Entra, 'served'>) => ({
  tenants: { [TENANT]: { subscriptions: [SUBSCRIPTION] } },
  roots: ['root.pem'],
  intermediates: ['issuing.pem'],
  sameVm: 'pinned',
  login: served.url,
});

const recording = (outbound: Outbound, called: OutboundRequest[]): Outbound => ({
  request: (request) => {
    called.push(request);
    return outbound.request(request);
  },
  close: () => outbound.close(),
});

export interface VmExchange {
  readonly key?: ProvenKey;
  readonly token?: string;
  /** DER, or how to make it for the exchange's nonce. */
  readonly document?: Uint8Array | ((nonce: string) => Uint8Array);
  readonly opening?: string;
  /** Instead of token and document: what was sent once, or what an agent says. */
  readonly answer?: Uint8Array | ((binding: Uint8Array) => Promise<Uint8Array>);
  readonly nonce?: Uint8Array;
}

/** One exchange, with the agent's side played by the test; genuine if the test says nothing. */
export async function attestVm(
  world: AzureWorld,
  attestor: Attestor,
  exchange: VmExchange = {},
): Promise<Facts> {
  const { token = world.entra.token(world.identity, AUDIENCE), opening = '' } = exchange;
  const { document = (nonce: string) => documentFor(world, { nonce }) } = exchange;
  const key = exchange.key ?? (await proven());
  const binding = attestationBinding(TRUST_DOMAIN, exchange.nonce ?? new Uint8Array(32).fill(7), key.spki);
  const made = typeof document === 'function' ? document(nonceOf(binding)) : document;
  return attestor.attest(utf8(opening), {
    now: () => world.clock.now(),
    key,
    binding,
    peer: undefined,
    challenge: async () => {
      const { answer = packAzureAnswer({ token: utf8(token), document: made }) } = exchange;
      return typeof answer === 'function' ? answer(binding) : answer;
    },
  });
}

/** The world's VM's, or another's. */
export const documentFor = (world: AzureWorld, recipe: DocumentRecipe, vm: Vm = world.vm): Uint8Array =>
  documentOf({ vm, signers: world.signers, now: () => world.clock.now() }, recipe);

/** The agent's side as it is, on the world's VM; the caller closes `outbound`. Pauses take no time. */
export function vmEvidence(world: AzureWorld, config: object = {}) {
  const deps: EvidenceDeps & { readonly outbound: Outbound } = {
    trustDomain: TRUST_DOMAIN,
    env: {},
    outbound: openOutbound(),
    clock: { now: () => world.clock.now(), sleepUntil: async () => {} },
    readFile: async () => new Uint8Array(),
  };
  const whole = AzureEvidenceConfig.parse({ endpoint: world.imds.url, ...config });
  return { deps, source: azureEvidence(whole, deps) };
}
