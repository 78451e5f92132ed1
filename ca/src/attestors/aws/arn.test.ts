import { describe, expect, test } from 'vitest';
import { parsePrincipalArn, problemWithPattern } from './arn.ts';

const A = '123456789012';
const iam = (resource: string) => `arn:aws:iam::${A}:${resource}`;
const sts = (resource: string) => `arn:aws:sts::${A}:${resource}`;

test.each([
  {
    arn: sts('assumed-role/web/i-0abc'),
    kind: 'assumed-role',
    name: 'web',
    session: 'i-0abc',
    whole: sts('assumed-role/web'),
  },
  {
    arn: sts('assumed-role/a+=,.@-_b/x@y'),
    kind: 'assumed-role',
    name: 'a+=,.@-_b',
    session: 'x@y',
    whole: sts('assumed-role/a+=,.@-_b'),
  },
  {
    arn: sts('assumed-role/web/web'),
    kind: 'assumed-role',
    name: 'web',
    session: 'web',
    whole: sts('assumed-role/web'),
  },
  { arn: sts('federated-user/ci'), kind: 'federated-user', name: 'ci' },
  { arn: iam('role/web'), kind: 'role', name: 'web' },
  {
    arn: iam('role/aws-reserved/sso.amazonaws.com/eu-west-2/AWSReservedSSO_x'),
    kind: 'role',
    name: 'AWSReservedSSO_x',
  },
  { arn: iam('user/ci/deploy'), kind: 'user', name: 'deploy' },
  { arn: iam('root'), kind: 'root', name: '' },
])('$arn is $kind "$name"', ({ arn, kind, name, session, whole = arn }) => {
  expect(parsePrincipalArn(arn, 'claim_rule')).toEqual({
    partition: 'aws',
    account: A,
    kind,
    name,
    session,
    arn: whole,
  });
});

test.each([
  '',
  'web',
  iam('role/'),
  iam('role'),
  iam('role//web'),
  iam('role/web/'),
  iam('role/we b'),
  iam('role/web*'),
  iam('role/web:x'),
  iam('root/x'),
  iam('group/web'),
  iam('assumed-role/web/x'),
  sts('role/web'),
  sts('root'),
  sts('assumed-role/web'),
  sts('assumed-role/web/x'),
  sts('assumed-role/web/xy/z'),
  sts('assumed-role/team/web/xy'),
  sts(`assumed-role/web/arn:aws:iam::${A}:role`),
  sts('assumed-role/web/xy\n'),
  sts(`assumed-role/${'w'.repeat(65)}/xy`),
  `arn:aws:iam:eu-west-1:${A}:role/web`,
  `arn:AWS:iam::${A}:role/web`,
  `arn:evil:iam::${A}:role/web`,
  'arn:aws:iam::aws:role/web',
  'arn:aws:iam::12345678901:role/web',
  'arn:aws:iam::1234567890123:role/web',
  'arn:aws:s3:::bucket',
  ` ${iam('role/web')}`,
])('%j is no principal', (arn) => {
  expect(() => parsePrincipalArn(arn, 'claim_rule')).toThrow(expect.objectContaining({ code: 'claim_rule' }));
});

test.each([
  iam('role/../web'),
  iam('role/team/..'),
  iam('user/.'),
  sts('assumed-role/../xy'),
  sts('assumed-role/web/..'),
])('C55 %j is no principal: a name is "." or ".."', (arn) => {
  expect(() => parsePrincipalArn(arn, 'claim_rule')).toThrow(/as a name/);
});

describe('patterns', () => {
  const kinds = ['assumed-role', 'user'] as const;
  test.each([
    sts('assumed-role/web'),
    sts('assumed-role/*'),
    sts('assumed-role/a-*-b'),
    iam('user/*/deploy'),
  ])('%s', (text) => {
    expect(problemWithPattern(text, kinds)).toBeUndefined();
  });
  test.each([
    { text: '*', says: /^write ARNs/ },
    { text: `arn:aws:sts:*:${A}:assumed-role/web`, says: /^write ARNs/ },
    { text: sts('assumed-role/web:x'), says: /^write ARNs/ },
    { text: 'arn:aws:sts::12345678901*:assumed-role/web', says: /12 digits, no wildcard/ },
    { text: `arn:aws:*::${A}:assumed-role/web`, says: /for names only/ },
    { text: `arn:aws*:sts::${A}:assumed-role/web`, says: /for names only/ },
    { text: sts('*/web'), says: /"\*" is not one of/ },
    { text: sts('*'), says: /"\*" is not one of/ },
    { text: iam('role/web'), says: /assumed-role\/NAME$/ },
    { text: sts('assumed-role/web/*'), says: /chosen by the caller/ },
    { text: sts('assumed-role'), says: /chosen by the caller/ },
    { text: iam('assumed-role/web'), says: /assumed-role is of sts/ },
    { text: sts('user/web'), says: /user is of iam/ },
  ])('$text is refused', ({ text, says }) => {
    expect(problemWithPattern(text, kinds)).toMatch(says);
  });
});
