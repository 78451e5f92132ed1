/**
 * Authorisation code with PKCE (RFC 7636, S256) on a loopback address (RFC 8252, section 7.3). Only the answer with our
 * state counts; the code is worth nothing without our verifier. Other users of the machine can read the address, with
 * the state in it, in the list of processes: on Linux only an answer of our user, or of root, counts.
 */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import type { Socket } from 'node:net';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { tcpOwnerOf } from '@chancery/shared/unix/socket-owner.ts';
import { type Endpoints, type IssuerDeps, idTokenIn, post } from './issuer.ts';

export interface Asked {
  readonly clientId: string;
  readonly nonce: string;
  /** The person must show who they are now, also where the issuer still knows them. */
  readonly again: boolean;
}

export interface CodeDeps extends IssuerDeps {
  /** Shows the address where the person signs in, and opens a browser if there is one. */
  readonly show: (url: string) => void;
  readonly signal: AbortSignal;
  /** Of this process. */
  readonly own: Own;
}

interface Own {
  readonly uid: number;
  /** That of `process`. */
  readonly platform: NodeJS.Platform;
}

/** `openid` gives the ID token, `profile` the name. */
export const SCOPE = 'openid profile';
/** A person who signed in at the issuer this long ago is asked again. */
const MAX_AGE_SECONDS = 12 * 3600;
const WAIT_MS = 300_000;
const PATH = '/callback';

/** A fresh code verifier, and its challenge (RFC 7636, section 4). */
export const verifierOf = () => {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
};

/** Resolves with the ID token. Throws unavailable with the issuer's reason, or after 5 minutes. */
export async function byCode(endpoints: Endpoints, asked: Asked, deps: CodeDeps): Promise<string> {
  const { clientId, nonce, again } = asked;
  const state = randomBytes(32).toString('base64url');
  const { verifier, challenge } = verifierOf();
  const door = await openDoor(state, endpoints.issuer, deps.own);
  try {
    const { redirectUri } = door;
    const url = new URL(endpoints.authorization);
    const query = {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope: SCOPE,
      state,
      nonce,
      code_challenge: challenge,
      code_challenge_method: 'S256',
      max_age: String(again ? 0 : MAX_AGE_SECONDS),
      ...(again && { prompt: 'login' }),
    };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    deps.show(url.href);
    const code = await door.code(deps.signal);
    const form = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, client_id: clientId };
    return idTokenIn(await post(endpoints.token, { ...form, code_verifier: verifier }, deps));
  } finally {
    door.close();
  }
}

interface Door {
  readonly redirectUri: string;
  code(signal: AbortSignal): Promise<string>;
  close(): void;
}

/** Other requests, such as those of a page that guesses the port, are answered 400 and change nothing. */
async function openDoor(state: string, issuer: string, own: Own): Promise<Door> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  promise.catch(() => {});
  const server = http.createServer((request, response) => {
    const url = URL.parse(request.url ?? '', 'http://127.0.0.1');
    const ours =
      request.method === 'GET' && url?.pathname === PATH && url.searchParams.get('state') === state;
    const headers = { 'content-type': 'text/plain; charset=utf-8', connection: 'close' };
    if (!ours) {
      response.writeHead(400, headers).end('not the answer of this sign-in\n');
      return;
    }
    try {
      ensureOwnUser(request.socket, own);
      resolve(codeIn(url.searchParams, issuer));
    } catch (error) {
      reject(error);
    }
    response.writeHead(200, headers).end('Go back to the terminal. You can close this page.\n');
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    redirectUri: `http://127.0.0.1:${port}${PATH}`,
    code: (signal) => waitFor(promise, signal),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Who has read the address could sign in by it as somebody else, and the operator would act under that name. Ends the
 * sign-in. Throws unavailable.
 */
function ensureOwnUser(socket: Socket, { uid, platform }: Own): void {
  if (platform !== 'linux') return;
  const owner = ownerOf(socket);
  const whose = owner === undefined ? 'a program whose user is not known' : `another user (uid ${owner})`;
  const says = `${whose} of this machine has answered the sign-in, whose address can be read there`;
  const then = 'nobody is signed in. Try again, or with chancery-ca login --device';
  ensure(owner === uid || owner === ROOT, 'unavailable', `${says}: ${then}`);
}

/** Root may be any user, and forwards ports, such as those of a virtual machine. */
const ROOT = 0;

/** Undefined if the kernel does not know it, or it has closed its end. */
function ownerOf(socket: Socket): number | undefined {
  try {
    return tcpOwnerOf(socket);
  } catch (error) {
    if (!isRefusal(error, 'peer_unknown')) throw error;
    return undefined;
  }
}

/** RFC 9207: where the answer names its issuer, it is the one that was asked. Throws unavailable. */
function codeIn(answer: URLSearchParams, issuer: string): string {
  const [error, iss, code] = [answer.get('error'), answer.get('iss'), answer.get('code')];
  const why = answer.get('error_description') ?? '';
  ensure(error === null, 'unavailable', `the issuer refused: ${`${error} ${why}`.trim().slice(0, 300)}`);
  ensure(iss === null || iss === issuer, 'unavailable', `the answer is of issuer ${iss}, not ${issuer}`);
  ensure(code !== null && code !== '', 'unavailable', 'the issuer sent no code');
  return code;
}

function waitFor(code: Promise<string>, signal: AbortSignal): Promise<string> {
  const late = AbortSignal.timeout(WAIT_MS);
  const ended = new Promise<never>((_, reject) => {
    const minutes = WAIT_MS / 60_000;
    const why = `nobody signed in within ${minutes} minutes; without a browser here: chancery-ca login --device`;
    late.addEventListener('abort', () => reject(new IdentityError('unavailable', why)), { once: true });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  signal.throwIfAborted();
  return Promise.race([code, ended]);
}
