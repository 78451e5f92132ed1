/** Amazon Resource Names of principals, and the patterns over them that operators write. */
import { ensure, type Refusal } from '@chancery/shared/ground/errors.ts';

export interface PrincipalArn {
  readonly partition: string;
  /** 12 digits. */
  readonly account: string;
  readonly kind: PrincipalKind;
  /** The name of a role or user, without its path; it is unique in its account. Empty for root. */
  readonly name: string;
  /** The session of an assumed role. The caller that assumed it chose the name, so no rule may depend on it. */
  readonly session: string | undefined;
  /** The ARN without the session. */
  readonly arn: string;
}

/** How each kind of principal is written after the account; "Reference_identifiers" in the IAM User Guide. */
const SHAPES = {
  'assumed-role': /^sts assumed-role\/(?<name>[\w+=,.@-]{1,64})\/(?<session>[\w+=,.@-]{2,64})$/,
  'federated-user': /^sts federated-user\/(?<name>[\w+=,.@-]{2,64})$/,
  role: /^iam role\/([\w+=,.@-]{1,128}\/){0,32}(?<name>[\w+=,.@-]{1,64})$/,
  user: /^iam user\/([\w+=,.@-]{1,128}\/){0,32}(?<name>[\w+=,.@-]{1,64})$/,
  root: /^iam root(?<name>)$/,
} as const;
export type PrincipalKind = keyof typeof SHAPES;

const MAX_LENGTH = 2048;
const ARN = /^arn:(aws[a-z-]{0,16}):(iam|sts)::(\d{12}):(.+)$/;

/**
 * Throws `code` unless the text is the ARN of a principal. The message does not repeat the text, which may be anything.
 */
export function parsePrincipalArn(text: string, code: Refusal): PrincipalArn {
  ensure(text.length <= MAX_LENGTH, code, `an ARN of ${text.length} characters`);
  const [, partition = '', service = '', account = '', resource = ''] = ARN.exec(text) ?? [];
  // As a segment of a path, each of these names another path.
  const dots = resource.split('/').some((each) => each === '.' || each === '..');
  ensure(!dots, code, 'the ARN has "." or ".." as a name');
  for (const [kind, shape] of Object.entries(SHAPES) as [PrincipalKind, RegExp][]) {
    const { name, session } = shape.exec(`${service} ${resource}`)?.groups ?? {};
    if (name === undefined) continue;
    const arn = session === undefined ? text : text.slice(0, -session.length - 1);
    return { partition, account, kind, name, session, arn };
  }
  ensure(false, code, 'the ARN is not that of a role, a user, a federated user or root');
}

/** Undefined if the pattern is unambiguous; else what to write instead. */
export function problemWithPattern(text: string, kinds: readonly PrincipalKind[]): string | undefined {
  const [arn, partition = '', service = '', region, account = '', ...resource] = text.split(':');
  if (arn !== 'arn' || region !== '' || resource.length !== 1)
    return `write ARNs, such as ${EXAMPLES[kinds[0] ?? 'role']}`;
  if (!/^\d{12}$/.test(account)) return 'write the account out: 12 digits, no wildcard';
  if (!/^aws[a-z-]*$/.test(partition) || !/^(iam|sts)$/.test(service)) return 'a wildcard is for names only';
  const kind = (resource[0] ?? '').split('/', 1)[0] ?? '';
  if (kind === 'role' && kinds.includes('assumed-role'))
    return `STS tells an assumed role without its path: write arn:${partition}:sts::${account}:assumed-role/NAME`;
  if (!kinds.some((each) => each === kind)) return `"${kind}" is not one of ${kinds.join(', ')}`;
  const known = kind === 'assumed-role' || kind === 'federated-user' ? 'sts' : 'iam';
  if (service !== known) return `${kind} is of ${known}: write arn:${partition}:${known}::${account}:${kind}`;
  if (kind === 'assumed-role' && text.split('/').length !== 2)
    return 'the session is chosen by the caller: write assumed-role/NAME and no more';
  return undefined;
}

const EXAMPLES: Readonly<Record<PrincipalKind, string>> = {
  'assumed-role': 'arn:aws:sts::123456789012:assumed-role/web',
  'federated-user': 'arn:aws:sts::123456789012:federated-user/ci',
  role: 'arn:aws:iam::123456789012:role/web',
  user: 'arn:aws:iam::123456789012:user/ci/deploy',
  root: 'arn:aws:iam::123456789012:root',
};
