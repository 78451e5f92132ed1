/** Each call of the Operator service says in its .proto the role and the sign-in that the table of verbs has. */
import { type Need, VERBS, type VerbName } from '@chancery/ca/operator/roles.ts';
import { commandUsage } from '@chancery/shared/cli/program.ts';
import { expect, test } from 'vitest';
import { programs } from './reference.ts';
import { textOf } from './repository.ts';

/** Calls whose verb has another name. */
const NAMED: Readonly<Record<string, VerbName>> = {
  ListResources: 'resources',
  ListAgents: 'agents',
  ListIssued: 'issued',
  LiftRevocation: 'lift',
  ListRevocations: 'revocations',
  QueryAudit: 'audit',
  ListAuthorities: 'authorities',
  GetRotation: 'rotationStatus',
  GetJwtRotation: 'jwtRotationStatus',
  ListAuthorityRequests: 'authorityRequests',
  ListRequests: 'requests',
  GetServing: 'serving',
  GetAuditStatus: 'auditStatus',
};

const calls = [
  ...textOf('proto/chancery/v1/operator.proto').matchAll(/((?: {2}\/\/.*\n)+) {2}rpc (\w+)\(/g),
].map(([, comment = '', name = '']) => ({
  name,
  verb: NAMED[name] ?? `${name.charAt(0).toLowerCase()}${name.slice(1)}`,
  says: comment.replaceAll(/\s*\/\/\s?/g, ' ').trim(),
}));

const saying = ({ role, owners, fresh, here }: Need): string =>
  [
    `Role: ${role}`,
    ...(here === true ? [', on the admin socket alone'] : []),
    ...(owners === true ? ['; owners of servers for their part'] : []),
    ...(fresh === 'always'
      ? [', and a fresh sign-in']
      : fresh === undefined
        ? []
        : [`; a fresh sign-in ${fresh}`]),
    '.',
  ].join('');

test('every verb has a call', () => {
  expect(calls.map(({ verb }) => verb).toSorted()).toEqual(Object.keys(VERBS).toSorted());
});

/** As a person types it: a command, with a word or a flag of its own. */
test.each(Object.entries<Need>(VERBS))('the command of %s is one', (_, { command }) => {
  const [name = '', more] = command.split(' ');
  const [ca] = programs();
  const found = ca?.commands[name];
  expect(found).toBeDefined();
  const usage = ca === undefined || found === undefined ? '' : commandUsage(ca, name, found);
  expect(usage).toContain(more ?? name);
});

test.each(calls)('$name says what $verb needs', ({ verb, says }) => {
  const need = Object.entries(VERBS).find(([name]) => name === verb)?.[1];
  expect(need).toBeDefined();
  expect(says.startsWith(saying(need ?? { command: '', role: 'reader' }))).toBe(true);
});
