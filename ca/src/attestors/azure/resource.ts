/** Names of Azure resources, as a managed identity's token has them. */
import { ensure } from '@chancery/shared/errors.ts';

export interface Machine {
  readonly subscription: string;
  readonly resourceGroup: string;
  readonly name: string;
  /** One VM; or a scale set, whose machines all have the set's name. */
  readonly kind: 'virtualMachines' | 'virtualMachineScaleSets';
}

/** Azure tells no cases apart (ARM's rules for names): all is lower case here. */
const COMPUTE =
  /^\/subscriptions\/([0-9a-f-]{36})\/resourcegroups\/([^/]{1,90})\/providers\/microsoft\.compute\/(virtualmachines|virtualmachinescalesets)\/([^/]{1,64})$/;
const PLAIN = /^[\x21-\x7e]{1,512}$/;

/** Throws claim_rule for what is no VM: a container, a function, a machine outside Azure. */
export function readMachine(id: string): Machine {
  const [, subscription = '', resourceGroup = '', kind, name = ''] = COMPUTE.exec(id) ?? [];
  ensure(name !== '', 'claim_rule', `${id} is no virtual machine`);
  const kinds = {
    virtualmachines: 'virtualMachines',
    virtualmachinescalesets: 'virtualMachineScaleSets',
  } as const;
  return { subscription, resourceGroup, name, kind: kinds[kind as keyof typeof kinds] };
}

/** Lower case. Throws claim_rule for characters that no name has. */
export function readResourceId(text: string): string {
  ensure(PLAIN.test(text), 'claim_rule', 'a resource ID holds what no name may');
  return text.toLowerCase();
}
