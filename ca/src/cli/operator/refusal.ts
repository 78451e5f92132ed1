/** What a failed call of the CA's admin socket means for the operator, instead of gRPC's words. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { olderCa } from '../flags.ts';

export interface FailedCall {
  readonly socket: string;
  /** The deadline of the call. */
  readonly seconds: number;
  /** Whether the call asks for a change, which the CA may make although its answer does not come. */
  readonly isChange: boolean;
}

/** What grpc-js says of a connection that could not be made: nothing has been asked then. */
const NOT_CONNECTED = /^No connection established|\bconnect E[A-Z]+\b/;
/** A CA may well be serving there. */
const NOT_ALLOWED = /\bconnect E(ACCES|PERM)\b/;
/** What grpc-js says of a connection that ends under a call. */
const DROPPED = /^(Connection dropped|Stream removed|Received RST_STREAM|read E[A-Z]+)/;

/** The next step if no process listens at `socket`. */
export const nobodyServes = (socket: string): string =>
  `no CA is serving at ${socket}: run chancery-ca serve`;

/** The CA's own refusal, or why there is no answer and what to do. */
export function refusalFrom(error: grpc.ServiceError, call: FailedCall): IdentityError {
  const [code, says] = meaningOf(error, call);
  return new IdentityError(code, says, { cause: error });
}

function meaningOf({ code, details }: grpc.ServiceError, call: FailedCall): Meaning {
  const { socket, seconds } = call;
  const { DEADLINE_EXCEEDED, UNAVAILABLE, UNIMPLEMENTED, INTERNAL, CANCELLED } = grpc.status;
  if (code === DEADLINE_EXCEEDED) {
    const says = `the CA at ${socket} has not answered in ${seconds} s: it is stopped or busy`;
    return ['unavailable', `${says}. ${nextStep(call)}`];
  }
  if (code === UNAVAILABLE && NOT_ALLOWED.test(details))
    return ['unavailable', `this user may not use ${socket}: run it as root or as the user of the CA`];
  if (code === UNAVAILABLE && NOT_CONNECTED.test(details))
    return [
      'unavailable',
      socket.startsWith('/') ? nobodyServes(socket) : `the CA at ${socket} does not answer: ${details}`,
    ];
  if ([UNAVAILABLE, INTERNAL, CANCELLED].includes(code) && DROPPED.test(details))
    return ['unavailable', `the CA at ${socket} ended before it answered. ${nextStep(call)}`];
  if (code === UNIMPLEMENTED) return ['unavailable', olderCa(`the call to ${socket}`)];
  if (code === UNAVAILABLE) return ['unavailable', `the CA at ${socket} cannot do this now: ${details}`];
  return ['internal', details];
}

type Meaning = readonly [code: 'unavailable' | 'internal', says: string];

const nextStep = ({ isChange }: FailedCall): string =>
  isChange
    ? 'The change may have been made or still be made: look before you repeat it'
    : 'See its log, then try again';
