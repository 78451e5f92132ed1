/** Names of Azure resources, as a managed identity's token has them. */
import { ensure } from '@chancery/shared/ground/errors.ts';

export interface Machine {
  readonly subscription: string;
  readonly resourceGroup: string;
  readonly name: string;
  /** One VM; or a scale set, whose machines all have the set's name. */
  readonly kind: 'virtualMachines' | 'virtualMachineScaleSets';
}

const VM = 'microsoft.compute/virtualmachines';
const SCALE_SET = 'microsoft.compute/virtualmachinescalesets';
const USER_ASSIGNED = new RegExp(
  '^/subscriptions/[^/]+/resourcegroups/[^/]+' +
    '/providers/microsoft[.]managedidentity/userassignedidentities/[^/]+$',
);
const PLAIN = /^[\x21-\x7e]{1,512}$/;

/**
 * Reads `/subscriptions/S/resourcegroups/G/providers/microsoft.compute/virtualmachines/NAME` and the like. Throws
 * claim_rule for what is no VM: a container, a function, a machine outside Azure, a resource below one.
 */
export function readMachine(id: string): Machine {
  const [root, subscriptions, subscription = '', groups, resourceGroup = '', providers, ...resource] =
    id.split('/');
  const [provider, type, name = '', ...below] = resource;
  const kind = `${provider}/${type}`;
  const path =
    `${root}/${subscriptions}/${groups}/${providers}` === '/subscriptions/resourcegroups/providers';
  const named = [subscription, resourceGroup, name].every((each) => each !== '') && below.length === 0;
  const known = kind === VM || kind === SCALE_SET;
  ensure(path && named && known, 'claim_rule', `${id} is no virtual machine`);
  return {
    subscription,
    resourceGroup,
    name,
    kind: kind === VM ? 'virtualMachines' : 'virtualMachineScaleSets',
  };
}

/**
 * True for `/subscriptions/S/resourcegroups/G/providers/microsoft.managedidentity/userassignedidentities/NAME` and
 * nothing longer: a nested resource may have that in its path, and its creator chooses its name.
 */
export const isUserAssignedIdentity = (id: string): boolean => USER_ASSIGNED.test(id);

/** Lower case, for Azure tells no cases apart. Throws claim_rule for characters that no name has. */
export function readResourceId(text: string): string {
  ensure(PLAIN.test(text), 'claim_rule', 'a resource ID has characters that a name must not have');
  return text.toLowerCase();
}
