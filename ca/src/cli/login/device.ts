/** Device authorisation (RFC 8628): the person signs in with a browser on another machine, by a short code. */

import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Json } from '@chancery/shared/ground/json.ts';
import { peekClaims } from '../../tokens/jwt.ts';
import { type Asked, SCOPE, verifierOf } from './code.ts';
import {
  type Answered,
  answeredBy,
  type Endpoints,
  type IssuerDeps,
  idTokenIn,
  post,
  send,
} from './issuer.ts';

export interface DeviceDeps extends IssuerDeps {
  readonly show: (says: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
/** RFC 8628, sections 3.2 and 3.5. */
const [INTERVAL_SECONDS, SLOW_DOWN_SECONDS, LONGEST_SECONDS] = [5, 5, 1800];
/** The pause doubles with each poll that fails, so often at most. */
const MAX_DOUBLINGS = 3;
const TOO_MANY_REQUESTS = 429;

/**
 * Resolves with the ID token. The nonce is not in RFC 8628: an issuer that leaves it out of the token cannot be used in
 * this way. Throws unavailable.
 */
export async function byDevice(endpoints: Endpoints, asked: Asked, deps: DeviceDeps): Promise<string> {
  const { device } = endpoints;
  ensure(device !== undefined, 'unavailable', `${endpoints.issuer} has no device flow`);
  const { clientId, nonce } = asked;
  const { verifier, challenge } = verifierOf();
  const { status, answer } = await post(
    device,
    {
      ...{
        client_id: clientId,
        scope: SCOPE,
        nonce,
        code_challenge: challenge,
        code_challenge_method: 'S256',
      },
      ...(asked.again && { prompt: 'login', max_age: '0' }),
    },
    deps,
  );
  const says = `the issuer refused a device code (${status}): ${String(answer['error'])}`;
  ensure(status === 200, 'unavailable', says);
  const { device_code: code, user_code: user, verification_uri: uri } = answer;
  const good = [code, user, uri].every((each) => typeof each === 'string');
  ensure(good, 'unavailable', 'the issuer sent no device code');
  deps.show(`open ${String(uri)} in any browser and enter the code ${String(user)}\n`);
  const form = { grant_type: GRANT, device_code: String(code), client_id: clientId, code_verifier: verifier };
  const times = { interval: answer['interval'], lifetime: answer['expires_in'] };
  const token = await poll(endpoints.token, form, times, deps);
  ensureNonce(token, asked.nonce, endpoints.issuer);
  return token;
}

/** The CA would refuse such a token, and say why in its audit log alone. Throws unavailable, and as `peekClaims`. */
function ensureNonce(token: string, nonce: string, issuer: string): void {
  const has = peekClaims(utf8(token))['nonce'];
  const what = has === undefined ? 'no nonce' : 'another nonce than it was given';
  const says = `${issuer} puts ${what} into ID tokens of its device flow, so the CA would refuse this one`;
  ensure(has === nonce, 'unavailable', `${says}: sign in with a browser on this machine, without --device`);
}

async function poll(
  url: string,
  form: Readonly<Record<string, string>>,
  times: { readonly interval: Json | undefined; readonly lifetime: Json | undefined },
  deps: DeviceDeps,
): Promise<string> {
  let [failures, failure] = [0, ''];
  let pause = secondsIn(times.interval, INTERVAL_SECONDS);
  const end = addSeconds(deps.clock.now(), secondsIn(times.lifetime, LONGEST_SECONDS));
  while (deps.clock.now() < end) {
    const longer = 2 ** Math.min(failures, MAX_DOUBLINGS);
    await deps.clock.sleepUntil(addSeconds(deps.clock.now(), pause * longer), deps.signal);
    const answered = await ask(url, form, deps);
    if (typeof answered === 'string') {
      if (failures === 0) deps.show(`${answered}; asking again until the code ends\n`);
      [failures, failure] = [failures + 1, `; at last ${answered}`];
      continue;
    }
    [failures, failure] = [0, ''];
    const { error } = answered.answer;
    if (error === 'slow_down') pause += SLOW_DOWN_SECONDS;
    if (error !== 'authorization_pending' && error !== 'slow_down') return idTokenIn(answered);
  }
  const says = 'nobody has entered the code in time: chancery-ca login --device';
  throw new IdentityError('unavailable', `${says}${failure}`);
}

/** RFC 8628 section 3.5: what fails for the moment does not end it. Then it says why. Throws unavailable. */
async function ask(
  url: string,
  form: Readonly<Record<string, string>>,
  deps: IssuerDeps,
): Promise<Answered | string> {
  try {
    const reply = await send(url, form, deps);
    const { status } = reply;
    if (status >= 500 || status === TOO_MANY_REQUESTS) return `the issuer answered ${status}`;
    return answeredBy(url, reply);
  } catch (error) {
    if (isRefusal(error) && error.code === 'platform_unavailable') return error.message;
    throw error;
  }
}

const secondsIn = (value: Json | undefined, otherwise: number): number =>
  typeof value === 'number' && value > 0 ? Math.min(value, LONGEST_SECONDS) : otherwise;
