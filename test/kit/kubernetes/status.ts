/** How the API server says no: a Status object (meta/v1), with the HTTP status as its code. */

export interface Answer {
  readonly status: number;
  /** By default `application/json`. */
  readonly type?: string;
  readonly body: object;
}

/** As far as this stand-in reads what it is sent. */
export interface Body {
  readonly spec?: {
    readonly token?: string;
    readonly audiences?: readonly string[];
    readonly expirationSeconds?: number;
    readonly boundObjectRef?: {
      readonly kind?: string;
      readonly apiVersion?: string;
      readonly name?: string;
      readonly uid?: string;
    };
  };
}

export function failure(code: number, reason: string, message: string): Answer {
  const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
  return { status: code, body };
}

/** Thrown where a request ends early. */
export class Refused extends Error {
  readonly answer: Answer;
  constructor(code: number, reason: string, message: string) {
    super(message);
    this.answer = failure(code, reason, message);
  }
}
