/** What AWS's client throws, as refusals of ours that say what to do. */
import { IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';
import { plainNetwork } from '@chancery/shared/text/network-sentence.ts';
import { printable } from '@chancery/shared/text/printable.ts';

/** What was asked, for messages. */
export interface Asked {
  /** The IAM action, such as kms:Sign. */
  readonly action: string;
  /** The key's ARN, id or alias; none for what makes a key. */
  readonly key?: string;
  readonly region: string;
}

interface Rule {
  readonly code: Refusal;
  says(asked: Asked): string;
}

const keyOf = ({ key }: Asked): string => (key === undefined ? '' : ` ${key}`);

const credentials: Rule = {
  code: 'key_refused',
  says: () =>
    "does not take the credentials that AWS's search for them found: look at the role of this machine",
};
const denied: Rule = {
  code: 'key_refused',
  says: (asked) => `does not allow ${asked.action}${keyOf(asked)}: give that permission to the CA's role`,
};
const wrong: Rule = { code: 'key_wrong', says: (asked) => `cannot do ${asked.action} with${keyOf(asked)}` };
const throttled: Rule = {
  code: 'key_unreachable',
  says: ({ action }) => `throttles ${action}: try again, and ask AWS for a higher request quota if it lasts`,
};

/** By the name of the error: "Common errors" and the errors of each operation in the KMS API Reference. */
const RULES: Readonly<Record<string, Rule>> = {
  AccessDeniedException: denied,
  NotFoundException: {
    code: 'key_missing',
    says: (asked) => `has no key${keyOf(asked)}: one that was deleted never comes back`,
  },
  DisabledException: {
    code: 'key_refused',
    says: (asked) => `has disabled the key${keyOf(asked)}: enable it`,
  },
  KMSInvalidStateException: {
    code: 'key_refused',
    says: (asked) =>
      `does not use the key${keyOf(asked)} in its state: if its deletion is pending, cancel that and enable it`,
  },
  InvalidKeyUsageException: wrong,
  InvalidArnException: wrong,
  ValidationException: wrong,
  UnsupportedOperationException: wrong,
  LimitExceededException: {
    code: 'key_refused',
    says: ({ action }) => `refuses ${action}: a quota is used up`,
  },
  UnrecognizedClientException: credentials,
  InvalidSignatureException: credentials,
  InvalidClientTokenId: credentials,
  ExpiredTokenException: credentials,
  IncompleteSignature: credentials,
  MissingAuthenticationTokenException: credentials,
  ThrottlingException: throttled,
  Throttling: throttled,
  TooManyRequestsException: throttled,
  RequestLimitExceeded: throttled,
  CredentialsProviderError: {
    code: 'key_unreachable',
    says: () => "is not asked: AWS's search for credentials found none",
  },
};

const unwell: Rule = { code: 'key_unreachable', says: ({ action }) => `gives no answer to ${action}` };

/** key_missing, key_wrong, key_refused or key_unreachable; a refusal of ours stays as it is. */
export function kmsRefusal(error: unknown, asked: Asked): IdentityError {
  if (isRefusal(error)) return error;
  const { name, message } = error instanceof Error ? error : { name: '', message: String(error) };
  const { code, says } = (Object.hasOwn(RULES, name) ? RULES[name] : undefined) ?? unwell;
  const theirs = printable(plainNetwork([name, message].filter((each) => each !== '').join(': ')));
  return new IdentityError(code, `AWS KMS in ${asked.region} ${says(asked)} (${theirs})`, { cause: error });
}
