/** Device authorisation (RFC 8628): the person signs in with a browser on another machine, by a short code. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Json } from '@chancery/shared/ground/json.ts';
import { type Asked, SCOPE, verifierOf } from './code.ts';
import { type Endpoints, type IssuerDeps, idTokenIn, post } from './issuer.ts';

export interface DeviceDeps extends IssuerDeps {
  readonly show: (says: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
/** RFC 8628, sections 3.2 and 3.5. */
const [INTERVAL_SECONDS, SLOW_DOWN_SECONDS, LONGEST_SECONDS] = [5, 5, 1800];

/**
 * Resolves with the ID token. The nonce is not in RFC 8628: an issuer that leaves it out of the token cannot be used in
 * this way, and the CA says so. Throws unavailable.
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
  return poll(endpoints.token, form, times, deps);
}

async function poll(
  url: string,
  form: Readonly<Record<string, string>>,
  times: { readonly interval: Json | undefined; readonly lifetime: Json | undefined },
  deps: DeviceDeps,
): Promise<string> {
  let pause = secondsIn(times.interval, INTERVAL_SECONDS);
  const end = addSeconds(deps.clock.now(), secondsIn(times.lifetime, LONGEST_SECONDS));
  while (deps.clock.now() < end) {
    await deps.clock.sleepUntil(addSeconds(deps.clock.now(), pause), deps.signal);
    const answered = await post(url, form, deps);
    const { error } = answered.answer;
    if (error === 'slow_down') pause += SLOW_DOWN_SECONDS;
    if (error !== 'authorization_pending' && error !== 'slow_down') return idTokenIn(answered);
  }
  throw new IdentityError('unavailable', 'nobody has entered the code in time: chancery-ca login --device');
}

const secondsIn = (value: Json | undefined, otherwise: number): number =>
  typeof value === 'number' && value > 0 ? Math.min(value, LONGEST_SECONDS) : otherwise;
