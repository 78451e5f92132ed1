/** What goes between the CA and the thread of its database. Values only: no secrets, no callbacks, no shared memory. */
import { IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';
import type { DatabaseCall } from '../calls.ts';
import type { Migrating } from '../file/migrating.ts';
import type { OwnFile } from '../file/same-files.ts';

export interface NumberedCall {
  readonly number: number;
  readonly call: DatabaseCall;
}

export type ToThread =
  | { readonly kind: 'calls'; readonly calls: readonly NumberedCall[] }
  | { readonly kind: 'copy'; readonly path: string }
  | { readonly kind: 'close' };

/** A class does not cross a thread; its code and its sentence do. */
export interface CrossingError {
  readonly code: Refusal;
  readonly message: string;
  readonly cause: string | undefined;
}

export interface NumberedAnswer {
  readonly number: number;
  readonly value?: unknown;
  readonly error?: CrossingError | undefined;
}

export type FromThread =
  /** Before it is opened: once for each step of the schema. */
  | { readonly kind: 'migrating'; readonly step: Migrating }
  | { readonly kind: 'opened'; readonly files: readonly OwnFile[] }
  | { readonly kind: 'refused'; readonly error: CrossingError }
  | { readonly kind: 'copied'; readonly error?: CrossingError }
  | { readonly kind: 'answers'; readonly answers: readonly NumberedAnswer[] };

/** An error as a value that another thread can read; what is not a refusal becomes `store`. */
export function crossing(error: unknown): CrossingError {
  if (!isRefusal(error)) return { code: 'store', message: textOf(error), cause: undefined };
  const { code, message, cause } = error;
  return { code, message, cause: cause === undefined ? undefined : textOf(cause) };
}

/** The refusal on the other side. Its cause has the sentence and not the stack. */
export function crossed({ code, message, cause }: CrossingError): IdentityError {
  return new IdentityError(code, message, cause === undefined ? {} : { cause: new Error(cause) });
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
