/** An AWS account with a role that may join, CA attestors that trust it, and the exchange between the two. */
import { awsIamEvidence } from '@chancery/agent/evidence/aws/iam.ts';
import { awsWebIdentityEvidence } from '@chancery/agent/evidence/aws/web-identity.ts';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import type { Attestor, AttestorDeps, Facts } from '@chancery/ca/attestors/attestor.ts';
import { AwsIamConfig, awsIamAttestor } from '@chancery/ca/attestors/aws/iam.ts';
import { AwsWebIdentityConfig, awsWebIdentityAttestor } from '@chancery/ca/attestors/aws/web-identity.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { jsonLog } from '@chancery/shared/ground/log.ts';
import { type Outbound, type OutboundRequest, openOutbound } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { proven } from '../ca/authority.ts';
import { MovableClock } from '../clock.ts';
import { type AccessKey, type Account, Directory } from './directory.ts';
import { jwksOf, makeIssuer } from './issuer.ts';
import { type Sts, startSts } from './sts.ts';

export const AWS_TRUST_DOMAIN = parseTrustDomain('test.example');
export const ACCOUNT = '123456789012';
export const OTHER_ACCOUNT = '999999999999';
export const ISSUER = 'https://a1b2c3d4-0000-4000-8000-000000000001.tokens.sts.global.api.aws';
export const OTHER_ISSUER = 'https://a1b2c3d4-0000-4000-8000-000000000002.tokens.sts.global.api.aws';
const ORGANIZATION = { id: 'o-abc1234567', path: ['r-ab12', 'ou-ab12-11111111', 'ou-ab12-22222222'] };

export type AwsWorld = Awaited<ReturnType<typeof startAwsWorld>>;

export async function startAwsWorld() {
  const clock = new MovableClock();
  const now = () => clock.now();
  const directory = new Directory();
  const account = directory.account(ACCOUNT, { organization: ORGANIZATION, issuer: makeIssuer(ISSUER) });
  const other = directory.account(OTHER_ACCOUNT, { issuer: makeIssuer(OTHER_ISSUER) });
  const sts = await startSts({ directory, now });
  const outbound = impatient(openOutbound());
  const files = new Map([['jwks.json', JSON.stringify(jwksOf(account.issuer ?? makeIssuer(ISSUER)))]]);
  const deps: AttestorDeps = {
    trustDomain: AWS_TRUST_DOMAIN,
    memory: { advance: async () => {}, bind: async () => {} },
    readFile: (path) => utf8(files.get(path) ?? ''),
    outbound,
    clock,
    log: jsonLog('error', 'test'),
  };
  return {
    clock,
    directory,
    account,
    other,
    sts,
    outbound,
    files,
    deps,
    role: (name = 'team/web', session?: string): AccessKey => directory.assumeRole(account, name, session),
    iam: (config: object = {}): Attestor =>
      awsIamAttestor(
        AwsIamConfig.parse({ accounts: [ACCOUNT], regions: [sts.region], endpoint: sts.url, ...config }),
        deps,
      ),
    webIdentity: (config: object = {}): Attestor =>
      awsWebIdentityAttestor(
        AwsWebIdentityConfig.parse({
          issuers: [{ url: ISSUER, account: ACCOUNT, jwks: 'jwks.json' }],
          ...config,
        }),
        deps,
      ),
    close: async () => {
      outbound.close();
      await sts.close();
    },
  };
}

export interface Bounded extends Outbound {
  /** Every request so far, as it was asked for. */
  readonly requests: OutboundRequest[];
}

/** Waits for a second where ten were allowed, so that a test need not. */
function impatient(outbound: Outbound): Bounded {
  const requests: OutboundRequest[] = [];
  return {
    requests,
    request: (request) => {
      requests.push(request);
      return outbound.request({ ...request, timeoutMs: 1000 });
    },
    close: () => outbound.close(),
  };
}

export const callerWith = (key: AccessKey, region = 'eu-west-1') => ({
  credentials: async () => key,
  region: async () => region,
});

export const iamEvidence = (
  { clock }: Pick<AwsWorld, 'clock'>,
  key: AccessKey,
  region?: string,
): EvidenceSource => awsIamEvidence(callerWith(key, region), { clock });

export const webIdentityEvidence = ({ sts }: { sts: Sts }, key: AccessKey): EvidenceSource =>
  awsWebIdentityEvidence(callerWith(key), { trustDomain: AWS_TRUST_DOMAIN }, sts.url);

export interface AwsExchange {
  readonly key?: ProvenKey;
  readonly nonce?: Uint8Array;
  readonly opening?: Uint8Array;
  /** Changes the genuine answer on its way to the CA. */
  readonly answer?: (genuine: Uint8Array) => Uint8Array | Promise<Uint8Array>;
}

/** One exchange between an agent's evidence as it is and an attestor. */
export async function attestAws(
  { clock }: Pick<AwsWorld, 'clock'>,
  attestor: Attestor,
  source: EvidenceSource,
  { key, nonce = new Uint8Array(32).fill(7), opening, answer = (same) => same }: AwsExchange = {},
): Promise<Facts> {
  const certified = key ?? (await proven());
  const binding = attestationBinding(AWS_TRUST_DOMAIN, nonce, certified.spki);
  const exchange = await source.begin(certified.spki, AbortSignal.timeout(120_000));
  return attestor.attest(opening ?? exchange.opening, {
    now: () => clock.now(),
    key: certified,
    binding,
    peer: undefined,
    challenge: async (question) => answer(await exchange.answer(question, binding)),
  });
}

export type { Account };
