/** Opens what the CA serves to everybody: revocation lists, and the keys of its tokens. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { readProtectedFile } from '@chancery/shared/keys/secret-file.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import type { Authorities } from './authority/authorities.ts';
import { type CaSettings, readBeside } from './config.ts';
import { type CrlDeps, type Crls, startCrls } from './crl/crls.ts';
import { serveCrls } from './crl/server.ts';
import { serveKeys } from './jwt/server.ts';

interface PublicDeps extends Omit<CrlDeps, 'ttl' | 'authorities'> {
  readonly authorities: Authorities;
  readonly clock: Clock;
  readonly log: Log;
  /** What is opened here is added. */
  readonly open: { close(): Promise<void> }[];
}

export interface Public {
  readonly lists: Crls['lists'];
  readonly wake: Crls['wake'];
  /** Undefined if the config has no address for it. */
  readonly crlPort: number | undefined;
  readonly jwtPort: number | undefined;
}

/** Makes the revocation lists; serves them and the keys where the config says. Throws unavailable, config, file. */
export async function openPublic(settings: CaSettings, deps: PublicDeps): Promise<Public> {
  const { listen, ttl } = settings.crl;
  const crls = startCrls({ ...deps, ttl });
  deps.open.push(crls);
  const { lists, wake } = crls;
  const at = listen === undefined ? undefined : hostAndPort(listen);
  const server = at && (await serveCrls({ ...at, lists, clock: deps.clock }));
  if (server !== undefined) deps.open.push(server);
  return { lists, wake, crlPort: server?.port, jwtPort: await openKeySet(settings, deps) };
}

const MAX_KEY_BYTES = 64 * 1024;

async function openKeySet({ jwt, file }: CaSettings, deps: PublicDeps): Promise<number | undefined> {
  if (jwt === undefined) return undefined;
  const { issuer, listen, certificate, key } = jwt;
  const readTls = () => ({
    cert: readBeside(file)(certificate),
    key: readProtectedFile(key, MAX_KEY_BYTES),
  });
  const { bundle } = deps.authorities;
  const server = await serveKeys({ ...deps, ...hostAndPort(listen), issuer, bundle, readTls });
  deps.open.push(server);
  return server.port;
}
