/** Ends every request that we send with an answer or an error. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { IdentityError } from '@chancery/shared/ground/errors.ts';

export interface Outcome {
  readonly onResponse: (response: IncomingMessage) => void;
  readonly onError: (error: Error) => void;
}

/**
 * An answer that switches protocols is an error, since we never ask for that: Node alone would only close the request.
 */
export function onOutcome(request: ClientRequest, { onResponse, onError }: Outcome): void {
  let isTold = false;
  const fail = (error: Error): void => {
    isTold = true;
    onError(error);
  };
  request.on('response', (response) => {
    isTold = true;
    onResponse(response);
  });
  request.on('error', fail);
  request.on('upgrade', (response, socket) => {
    socket.destroy();
    fail(switched(response.statusCode));
  });
  request.on('close', () => {
    if (!isTold) fail(new Error('the connection was closed'));
  });
}

/** The error for an answer that switches the protocol, or is informational (below 200). */
export const switched = (status = 101): IdentityError =>
  new IdentityError('mcp_upstream', `the answer was HTTP ${status}, and no other protocol was asked for`);
