/** What a sign-in leaves on this machine: one file for each CA, with key and certificate, for its owner only. */
import { createPrivateKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { base64, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { readProtectedFile, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { z } from 'zod';

export interface Session {
  /** Of the CA: host:port. */
  readonly address: string;
  readonly bundle: Bundle;
  readonly svid: Svid;
  /** The verifier key of the audit log; undefined in what an older release left. */
  readonly logKey: string | undefined;
}

const Kept = z.strictObject({
  address: z.string(),
  trustDomain: z.string(),
  bundle: z.array(z.string()),
  id: z.string(),
  chain: z.array(z.string()),
  key: z.string(),
  notAfter: z.iso.datetime(),
  logKey: z.string().optional(),
});

const MAX_BYTES = 256 * 1024;
const LAST = 'last';

type Env = Readonly<Record<string, string | undefined>>;

/** XDG Base Directory Specification: state of this user on this machine. Relative paths there are invalid. */
function folderOf(env: Env): string {
  const { XDG_STATE_HOME: named = '' } = env;
  return join(named.startsWith('/') ? named : resolve(homedir(), '.local', 'state'), 'chancery', 'operator');
}

/** Of an address, any character that a file name should not have is replaced. */
const fileOf = (env: Env, address: string): string =>
  join(folderOf(env), `${address.replaceAll(/[^A-Za-z0-9.-]/g, '_')}.json`);

/** Replaces what was kept for that CA, and makes it the one that commands use. Throws file. Blocks. */
export function keepSession({ address, bundle, svid, logKey }: Session, env: Env): void {
  makeFolder(folderOf(env), 0o700);
  const kept: z.infer<typeof Kept> = {
    address,
    trustDomain: bundle.trustDomain,
    bundle: bundle.authorities.map(base64),
    id: svid.id,
    chain: svid.chain.map(base64),
    key: keyPem(svid.key),
    notAfter: svid.notAfter.toISOString(),
    ...(logKey !== undefined && { logKey }),
  };
  writeFileAtomic(fileOf(env, address), utf8(JSON.stringify(kept)), 0o600);
  writeFileAtomic(join(folderOf(env), LAST), utf8(address), 0o600);
}

/** The CA of the last sign-in; undefined if there was none. Throws file, file_mode. Blocks. */
export function lastAddress(env: Env): string | undefined {
  const file = join(folderOf(env), LAST);
  return existsSync(file) ? Buffer.from(readProtectedFile(file, MAX_BYTES)).toString() : undefined;
}

/** Undefined if nobody has signed in there from this machine. Throws file, file_mode. Blocks. */
export function keptSession(address: string, env: Env): Session | undefined {
  const file = fileOf(env, address);
  if (!existsSync(file)) return undefined;
  const read = Kept.safeParse(parsed(file));
  ensure(read.success, 'file', `${file} is not what chancery-ca login writes: sign in again`);
  const { trustDomain, bundle, id, chain, key, notAfter, logKey } = read.data;
  const end = new Date(notAfter);
  const bytes = (text: string): Uint8Array => Buffer.from(text, 'base64');
  return {
    address,
    bundle: { trustDomain: parseTrustDomain(trustDomain), authorities: bundle.map(bytes), sequence: 0n },
    svid: {
      id: parseSpiffeId(id),
      chain: chain.map(bytes),
      key: createPrivateKey(key),
      notBefore: end,
      notAfter: end,
      renewAfter: end,
    },
    logKey,
  };
}

/**
 * Throws no_peer for what an older release left: who has stolen an authority answers under the roots in it, too, and
 * could name a key of its own.
 */
export function logKeyOf({ address, logKey }: Pick<Session, 'address' | 'logKey'>): string {
  const then = `chancery-ca login --ca ${address} --bundle FILE, which \`chancery-ca bundle\` prints there`;
  ensure(logKey !== undefined, 'no_peer', `an older release signed you in at ${address}: ${then}`);
  return logKey;
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(Buffer.from(readProtectedFile(file, MAX_BYTES)).toString());
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new IdentityError('file', `${file} is not JSON: sign in again`, { cause: error });
  }
}
