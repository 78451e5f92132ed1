/**
 * An Azure VM, by its managed identity's token and its attested document. Proves two things: Azure's metadata service
 * signed for a VM with this ID in this subscription, over a nonce from this exchange's binding; and Entra ID gave a
 * token for the CA to a managed identity on a machine of that subscription. The nonce has 33 bits. The token has no
 * nonce and is not bound to the exchange; only `sameVm` ties its machine's name to the document's vmId.
 */

import { nonceOf, unpackAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Claims } from '../tokens/claims.ts';
import { peekClaims, verifyToken } from '../tokens/jwt.ts';
import type { Attestor, AttestorDeps, AttestorKind, Facts } from './attestor.ts';
import { readSignedData } from './azure/cms.ts';
import { AzureConfig, type AzurePolicy, azurePolicy, type Tenant } from './azure/config.ts';
import { type Document, ensureFresh, readDocument } from './azure/document.ts';
import { isUserAssignedIdentity, type Machine, readMachine, readResourceId } from './azure/resource.ts';
import { verifyContent } from './azure/signer.ts';

export const azureKind: AttestorKind<AzureConfig> = {
  type: 'azure',
  says: 'Azure VMs, by their managed identity and their attested document.',
  schema: AzureConfig,
  create: azureAttestor,
};

/** Reads the certificates at once. Throws config. */
export function azureAttestor(config: AzureConfig, deps: AttestorDeps): Attestor {
  const policy = azurePolicy(config, deps);
  return {
    type: 'azure',
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'the first message of an Azure VM must be empty');
      const answer = unpackAzureAnswer(await turn.challenge(new Uint8Array()));
      const tenant = tenantNamedBy(answer.token, policy);
      // Verified before the token: it needs no fetched keys, so only VMs of Azure can make the CA fetch any.
      const document = verifyDocument(answer.document, nonceOf(turn.binding), { policy, now: turn.now() });
      const identity = await verifyIdentity(answer.token, tenant, { policy, now: turn.now() });
      ensureAllowed(identity.machine, tenant);
      await ensureSameVm(identity, document, { policy, deps });
      return factsOf(tenant, identity, document);
    },
  };
}

interface Judge {
  readonly policy: AzurePolicy;
  readonly now: Date;
}

/** Chooses a configured tenant by the unverified token. */
function tenantNamedBy(token: Uint8Array, { tenants }: AzurePolicy): Tenant {
  const { iss } = peekClaims(token);
  const tenant = typeof iss === 'string' ? tenants.get(iss) : undefined;
  ensure(
    tenant !== undefined,
    'issuer_unknown',
    `iss is ${JSON.stringify(iss)?.slice(0, 200)}, of no tenant that is listed`,
  );
  return tenant;
}

function verifyDocument(der: Uint8Array, nonce: string, { policy, now }: Judge): Document {
  const document = readDocument(verifyContent(readSignedData(der), policy.trust, now));
  ensureFresh(document, nonce, { now, maxAgeSeconds: policy.maxDocumentAge });
  return document;
}

/** A managed identity, and the machine that it spoke from. */
interface Identity {
  /** The ID of the service principal, which is never reused. */
  readonly principalId: string;
  /** The resource ID that the identity belongs to: the machine, or a user-assigned identity. */
  readonly resource: string;
  readonly machineId: string;
  readonly machine: Machine;
}

async function verifyIdentity(token: Uint8Array, tenant: Tenant, { policy, now }: Judge): Promise<Identity> {
  const { issuer, keys } = tenant;
  const { audience, maxTokenLifetime: maxLifetimeSeconds } = policy;
  const rules = { issuer, audience, algorithms: ['RS256'], keys, maxLifetimeSeconds } as const;
  const claims = await verifyToken(token, rules, now);
  ensure(claims.string('tid') === tenant.id, 'issuer_unknown', 'tid is another tenant than that of iss');
  const principalId = claims.string('oid');
  // True for an application: a user's `sub` differs for each application.
  ensure(claims.subject === principalId, 'claim_rule', 'sub is not oid: no managed identity’s token');
  return { principalId, ...machineOf(claims) };
}

/**
 * `xms_mirid` is the resource of the identity: the machine for a system-assigned identity. A user-assigned identity is
 * a resource of its own; its machine is in `xms_az_rid`.
 */
function machineOf(claims: Claims): Omit<Identity, 'principalId'> {
  const resource = readResourceId(claims.string('xms_mirid'));
  const machineId =
    claims.find('xms_az_rid') === undefined ? resource : readResourceId(claims.string('xms_az_rid'));
  const own = resource === machineId || isUserAssignedIdentity(resource);
  ensure(own, 'claim_rule', 'xms_mirid is neither the machine of xms_az_rid nor a user-assigned identity');
  return { resource, machineId, machine: readMachine(machineId) };
}

function ensureAllowed({ subscription, resourceGroup }: Machine, tenant: Tenant): void {
  const listed = tenant.subscriptions.has(subscription);
  ensure(listed, 'claim_rule', `subscription ${subscription} may not join`);
  const group = tenant.resourceGroups?.has(resourceGroup) ?? true;
  ensure(group, 'claim_rule', `resource group ${resourceGroup} may not join`);
}

/**
 * The token has the machine's name and the document its ID, but Azure signs nowhere that they belong together. Both
 * have the subscription. Besides, a name can be pinned to the first ID that it came with.
 */
async function ensureSameVm(
  { principalId, machineId, machine }: Identity,
  { vmId, subscription }: Document,
  { policy, deps }: { policy: AzurePolicy; deps: AttestorDeps },
): Promise<void> {
  const same = subscription === machine.subscription;
  ensure(
    same,
    'azure_vm',
    `the token is of subscription ${machine.subscription}, the document of ${subscription}`,
  );
  if (!policy.pinned) return;
  const single = machine.kind === 'virtualMachines';
  ensure(single, 'azure_vm', `${machineId} is a scale set, no one VM: "sameVm: pinned" cannot hold`);
  await deps.memory.advance('azure', `${principalId}@${machineId}`, (first = vmId) => {
    ensure(first === vmId, 'azure_vm', `${machineId} came with vmId ${first} first, and now with ${vmId}`);
    return first;
  });
}

function factsOf(tenant: Tenant, { principalId, resource, machine }: Identity, { vmId }: Document): Facts {
  const { subscription, resourceGroup, name, kind } = machine;
  return {
    node: vmId,
    attributes: {
      tenant: tenant.id,
      subscription,
      resourceGroup,
      ...(kind === 'virtualMachines' ? { vmName: name } : { scaleSet: name }),
      vmId,
      principalId,
      identity: resource,
    },
    exclusive: true,
  };
}
