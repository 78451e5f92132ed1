/** A Compute Engine metadata server on loopback, as strict as Google's about its header. */
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';

export interface Instance {
  readonly project_id: string;
  readonly project_number: number;
  readonly zone: string;
  readonly instance_id: string;
  readonly instance_name: string;
  readonly instance_creation_timestamp: number;
}

/** As Google's documentation has one. */
export const INSTANCE: Instance = {
  project_id: 'my-project',
  project_number: 739419398126,
  zone: 'us-west1-b',
  instance_id: '152986662232938449',
  instance_name: 'vm-1',
  instance_creation_timestamp: 1496952205,
};

export interface MetadataOptions {
  readonly instance: Instance;
  /** The e-mail address of the default service account; without one there are no identity tokens. */
  readonly email?: string;
  /** Signs, as Google does. */
  readonly token: (claims: object) => string;
  readonly now: () => Date;
}

const ROOT = '/computeMetadata/v1';

export function startMetadata(options: MetadataOptions): Promise<Served> {
  return serve((received) => guarded(received, options), options);
}

/** Its own answers carry the flavor too, by which a client tells it from a captive portal. */
function guarded(received: Received, options: MetadataOptions): Answer {
  const { headers } = received;
  const answered = (status: number, body: string, type = 'application/text'): Answer => ({
    status,
    headers: { 'metadata-flavor': 'Google', server: 'Metadata Server for VM', 'content-type': type },
    body,
  });
  if (headers.has('x-forwarded-for'))
    return answered(403, 'Your client does not have permission', 'text/html');
  if (headers.get('metadata-flavor')?.join() !== 'Google')
    return answered(403, 'Missing Metadata-Flavor:Google header.', 'text/html');
  const identity = received.target.includes('/identity');
  const fault = faultOf(received, { parameters: identity ? ['audience', 'format', 'licenses'] : [] });
  if (fault !== undefined) return answered(fault.status, fault.says, 'text/html');
  const { status, body } = answerTo(received.target, options);
  return answered(status, body);
}

function answerTo(
  target: string,
  { instance, email, token }: MetadataOptions,
): { status: number; body: string } {
  const { pathname, searchParams } = new URL(target, 'http://metadata');
  if (pathname === `${ROOT}/instance/id`) return { status: 200, body: instance.instance_id };
  if (pathname === `${ROOT}/instance` || pathname === `${ROOT}/instance/`)
    return { status: 200, body: 'id\n' };
  if (pathname === `${ROOT}/project/project-id`) return { status: 200, body: instance.project_id };
  const account = /^\/computeMetadata\/v1\/instance\/service-accounts\/([^/]+)\/identity$/.exec(
    pathname,
  )?.[1];
  if (account === undefined || email === undefined || !['default', email].includes(account))
    return { status: 404, body: 'Not Found' };
  const audience = searchParams.get('audience') ?? '';
  if (audience === '') return { status: 400, body: 'non-empty audience parameter required' };
  const claims = { aud: audience, azp: '1096', sub: '1096', nbf: undefined };
  const full = { email, email_verified: true, google: { compute_engine: instance } };
  const format = searchParams.get('format') ?? 'standard';
  if (!['standard', 'full'].includes(format)) return { status: 400, body: 'invalid format' };
  return { status: 200, body: token(format === 'full' ? { ...claims, ...full } : claims) };
}
