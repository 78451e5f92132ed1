/** The claims of a verified token, by name and type. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';

interface Standard {
  readonly subject: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/** Made by verifyToken only. */
export class Claims implements Standard {
  readonly all: JsonObject;
  readonly subject: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;

  constructor(all: JsonObject, { subject, issuedAt, expiresAt }: Standard) {
    this.all = all;
    this.subject = subject;
    this.issuedAt = issuedAt;
    this.expiresAt = expiresAt;
  }

  /** `path` are names of nested objects. Throws claim_rule unless the claim is a non-empty string. */
  string(...path: readonly string[]): string {
    const value = this.find(...path);
    ensure(
      typeof value === 'string' && value !== '',
      'claim_rule',
      `${path.join('.')} is missing or no string`,
    );
    return value;
  }

  /** Undefined if the claim, or an object on its path, is missing. */
  find(...path: readonly string[]): Json | undefined {
    return path.reduce<Json | undefined>(
      (value, name) => (isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined),
      this.all,
    );
  }
}
