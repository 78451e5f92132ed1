/** An issuer, a CA's attestor that trusts it, and exchanges between the two with the agent's side played by a test. */
import type { Attestor, AttestorDeps, Facts } from '@chancery/ca/attestors/attestor.ts';
import { GcpConfig, gcpAttestor } from '@chancery/ca/attestors/gcp.ts';
import { OidcConfig } from '@chancery/ca/attestors/oidc/config.ts';
import { oidcAttestor } from '@chancery/ca/attestors/oidc.ts';
import { nodeMemory } from '@chancery/ca/store/node-memory.ts';
import { attestationBinding, audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { proven } from '../ca/authority.ts';
import { MovableClock } from '../clock.ts';
import { memoryStore } from '../store/memory-store.ts';
import { type IssuerOptions, startIssuer, type TestIssuer } from './issuer.ts';

const TRUST_DOMAIN = parseTrustDomain('test.example');
/** Of tokens that cannot carry the binding. */
export const FIXED_AUDIENCE = `chancery://${TRUST_DOMAIN}`;

export interface OidcWorld {
  readonly clock: MovableClock;
  readonly issuer: TestIssuer;
  readonly deps: AttestorDeps;
  /** What the CA's file reader finds. */
  readonly files: Map<string, string>;
  /** `config` is beside the issuer's address; it accepts the subject "job" unless it says otherwise. */
  oidc(config?: object): Attestor;
  gcp(config?: object): Attestor;
  close(): Promise<void>;
}

export async function startOidcWorld(options: Omit<IssuerOptions, 'now'> = {}): Promise<OidcWorld> {
  const clock = new MovableClock();
  const issuer = await startIssuer({ ...options, now: () => clock.now() });
  const store = await memoryStore(clock);
  const outbound = openOutbound();
  const files = new Map<string, string>();
  const deps: AttestorDeps = {
    trustDomain: TRUST_DOMAIN,
    memory: nodeMemory(store),
    outbound,
    clock,
    log: silentLog,
    readFile: (path) => utf8(files.get(path) ?? ''),
  };
  return {
    clock,
    issuer,
    deps,
    files,
    oidc: (config = {}) => {
      const parsed = OidcConfig.parse({ issuer: issuer.url, claims: { sub: ['job'] }, ...config });
      return oidcAttestor(parsed, { ...deps, type: 'oidc/ci' });
    },
    gcp: (config = {}) => {
      const jwksUri = `${issuer.url}/jwks`;
      return gcpAttestor(
        GcpConfig.parse({ projects: ['my-project'], issuer: issuer.url, jwksUri, ...config }),
        deps,
      );
    },
    close: async () => {
      outbound.close();
      await store.close();
      await issuer.close();
    },
  };
}

export interface TokenExchange {
  readonly key?: ProvenKey;
  /** What the agent answers. */
  readonly token: string | ((audience: string) => string);
  readonly opening?: string;
  readonly nonce?: Uint8Array;
}

/** One exchange. */
export async function attestToken(
  { clock }: Pick<OidcWorld, 'clock'>,
  attestor: Attestor,
  { key, token, opening = '', nonce = new Uint8Array(32).fill(7) }: TokenExchange,
): Promise<Facts> {
  const certified = key ?? (await proven());
  const binding = attestationBinding(TRUST_DOMAIN, nonce, certified.spki);
  return attestor.attest(utf8(opening), {
    now: () => clock.now(),
    key: certified,
    binding,
    peer: undefined,
    challenge: async () =>
      utf8(typeof token === 'function' ? token(audienceOf(TRUST_DOMAIN, binding)) : token),
  });
}
