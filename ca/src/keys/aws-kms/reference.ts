/**
 * What a key in AWS KMS is called: its ARN. It names region, account and one key for ever. An alias may be moved to
 * another key, so a record never has one.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';

/** "ARNs for AWS KMS" in the KMS Developer Guide. */
const ARN = /^arn:aws[a-z-]{0,20}:kms:([a-z0-9-]{1,30}):\d{12}:key\/([0-9a-f-]{36}|mrk-[0-9a-f]{32})$/;

/** Throws key_wrong unless it is the ARN of a key in this region. */
export function ensureKeyIn(region: string, arn: string): void {
  const [, found] = ARN.exec(arn) ?? [];
  const form = `key ${arn} is not named as a key in AWS KMS is: arn:aws:kms:REGION:ACCOUNT:key/ID`;
  ensure(found !== undefined, 'key_wrong', form);
  const says = `key ${arn} is in the region ${found}, and keys.aws-kms.region is ${region}`;
  ensure(found === region, 'key_wrong', says);
}
