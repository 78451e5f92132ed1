/** The CA's config: one YAML file, read once, strictly. The reference page is printed from these sentences. */
import { dirname, resolve } from 'node:path';
import { readConfigFile } from '@chancery/shared/config/config-file.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { by, DURATION, duration, hostPort, text } from '@chancery/shared/config/schema.ts';
import { Problems, type Read, readDocuments } from '@chancery/shared/config/yaml.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { healthAddress } from '@chancery/shared/health/address.ts';
import { parseTrustDomain, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { socketPathProblem } from '@chancery/shared/text/socket-path.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { z } from 'zod';
import { AttestorsConfig } from './attestors/index.ts';
import { JwtConfig } from './jwt/config.ts';
import { KeysConfig } from './keys/config.ts';
import { AuditConfig } from './log/config.ts';
import { ownAddressesTwice } from './own-addresses.ts';
import { OperatorsConfig } from './sign-in/config.ts';

/**
 * An issuing certificate signs until half of its life, and no SVID outlives it. So an SVID may have half of this left:
 * with less, renewals come too often, and an operator has no time to mend what fails.
 */
const MIN_AUTHORITY_SECONDS = 3600;
const ROOT_TTL = '3650d';
const INTERMEDIATE_TTL = '2d';

const authorityTtl = text(DURATION).transform(
  by((text) => {
    const seconds = parseDuration(text);
    const says = `at least 1h is expected, found ${text}: an SVID never outlives the certificate that issued it`;
    ensure(seconds >= MIN_AUTHORITY_SECONDS, 'config', says);
    return seconds;
  }),
);

const MIN_CRL_SECONDS = 60;
const MAX_CRL_SECONDS = 7 * 86_400;
/** Some readers of certificates allow 255 characters; the name of a list has 46. */
const MAX_CRL_URL = 200;

const crlUrl = text('a URL such as http://crl.prod.example')
  .regex(/^http:\/\/[A-Za-z0-9.-]+(:[0-9]{1,5})?(\/[A-Za-z0-9._~-]+)*\/?$/, {
    error:
      'expected http://HOST, a port and a path: lists are signed, and the software that asks may not have TLS yet',
    abort: true,
  })
  .refine((url) => url.length <= MAX_CRL_URL, `at most ${MAX_CRL_URL} characters`)
  .transform((url) => url.replace(/\/$/, ''));

const CrlConfig = z
  .strictObject({
    listen: hostPort
      .optional()
      .describe('Where they are served over plain HTTP, as /SERIAL.crl (default: nowhere).'),
    url: crlUrl
      .optional()
      .describe('Where clients reach `listen`; certificates then name their list (CRL distribution point).'),
    ttl: duration('1h')
      .refine(
        (seconds) => seconds >= MIN_CRL_SECONDS && seconds <= MAX_CRL_SECONDS,
        'from 1m to 7d is expected: agents and caches may use a list for so long',
      )
      .describe('From a list to its nextUpdate, 1m to 7d; there is a new one before half of it.'),
  })
  .refine(({ listen, url }) => url === undefined || listen !== undefined, {
    path: ['url'],
    error: 'set crl.listen, too: nobody serves the lists that certificates would name',
  });

const MIN_REPORTED = 16_777_216;

const path = z.string().min(1);

export const CaConfig = z.strictObject({
  trustDomain: z
    .string()
    .transform(by(parseTrustDomain))
    .describe('The trust domain that this CA speaks for.'),
  dataDir: path.describe(
    'Database, keys and sockets; 0711, for join.sock is for other users too. Relative to this file.',
  ),
  listen: hostPort.default('127.0.0.1:8443').describe('Where agents reach the CA: gRPC over TLS 1.3.'),
  http: healthAddress
    .prefault('127.0.0.1:9464')
    .describe(
      'Health and Prometheus metrics: plain HTTP, host:port on loopback; any address with healthOnly.',
    ),
  keyEncryptionKey: path.describe(
    "File, 0600, with the 32-byte key in base64 that encrypts the authorities' keys. Relative to this file.",
  ),
  passphrase: path
    .optional()
    .describe('File, 0600, with a passphrase for key-encryption keys that are made. Relative to this file.'),
  keys: KeysConfig,
  rootTtl: authorityTtl
    .prefault(ROOT_TTL)
    .describe('Lifetime of the root certificate, when it is made; at least 1h.'),
  intermediateTtl: authorityTtl
    .optional()
    .describe(
      'Lifetime of an issuing certificate, from 1h to rootTtl; renewed at half of it. ' +
        'An SVID ends no later than this certificate. (Default: 2d, or rootTtl if that is shorter.)',
    ),
  crl: CrlConfig.prefault({}).describe('Revocation lists (CRL) for TLS software that asks nobody else.'),
  jwt: JwtConfig.optional().describe('Where others find the keys of tokens (default: nowhere).'),
  attestors: AttestorsConfig.refine(
    (attestors) => Object.values(attestors).some((each) => each !== undefined),
    'configure at least one attestor, for instance "unix: {}"',
  ).describe('The platforms that may join.'),
  operators: OperatorsConfig.optional().describe(
    'Operators who sign in by OpenID Connect; without it, only the admin socket (docs/operators.md).',
  ),
  limits: z
    .strictObject({
      attestationsPerSecond: z
        .int()
        .min(1)
        .max(100_000)
        .default(50)
        .describe(
          'Exchanges, calls or certificates per second of a node, uid, IPv4 address or IPv6 /64; four times for a /48.',
        ),
      attestationBurst: z
        .int()
        .min(1)
        .max(100_000)
        .default(100)
        .describe('Exchanges and certificates of one caller at once.'),
      openAttestations: z
        .int()
        .min(1)
        .max(100_000)
        .default(512)
        .describe(
          'Unfinished exchanges: certified nodes, the local socket and strangers have this many each.',
        ),
      openAttestationsPerAddress: z
        .int()
        .min(1)
        .max(100_000)
        .default(64)
        .describe('Unfinished exchanges of one caller.'),
      refusalsInFull: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(1)
        .describe('Refusals of one peer, method and code recorded in full per minute; the rest are counted.'),
      connections: z
        .int()
        .min(8)
        .max(1_000_000)
        .default(10_000)
        .describe('Open connections of peers with a good certificate; fewer if open files are limited.'),
      strangerConnections: z
        .int()
        .min(8)
        .max(100_000)
        .default(1024)
        .describe(
          'Open connections of peers that have shown no good certificate yet; and as many on which no byte has come.',
        ),
      connectionsPerCaller: z
        .int()
        .min(1)
        .max(100_000)
        .default(64)
        .describe(
          'Open connections of one certificate, uid, IPv4 address or IPv6 /64; four times for a /48.',
        ),
      reportedBytesPerDay: z
        .int()
        .min(MIN_REPORTED)
        .max(Number.MAX_SAFE_INTEGER)
        .default(17_179_869_184)
        .describe('Call records that the gateways of one SPIFFE ID report in a day; then they wait.'),
    })
    .prefault({})
    .describe('What one client, and all together, may ask of the CA.'),
  audit: AuditConfig.prefault({}).describe('The audit log.'),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The least severe line logged.'),
});

/** The config with its paths made absolute and its names parsed. */
export interface CaSettings extends Omit<z.infer<typeof CaConfig>, 'trustDomain' | 'intermediateTtl'> {
  readonly trustDomain: TrustDomain;
  /** Seconds; never more than `rootTtl`. */
  readonly intermediateTtl: number;
  readonly file: string;
}

/** `as` is where it is going to be: its paths are relative to that. Throws config with every problem at once. */
export const readCaConfig = (file: string, as = file): CaSettings =>
  parseCaConfig(readConfigFile(file, ''), as);

/** `text` is the content of `file`, also before it is written. Throws config with every problem at once. */
export function parseCaConfig(text: string, file: string): CaSettings {
  const problems = new Problems();
  const [read, ...more] = readDocuments(text, file, CaConfig, problems);
  problems.throwIfAny('config');
  if (read === undefined || more.length > 0)
    throw new IdentityError(
      'config',
      `${file}: expected one YAML document with trustDomain, dataDir, attestors...`,
    );
  const here = dirname(resolve(file));
  const { value } = read;
  const dataDir = resolve(here, value.dataDir);
  for (const socket of [paths(dataDir).admin, paths(dataDir).join]) {
    const says = socketPathProblem(socket);
    if (says !== undefined) problems.add(file, read.lineOf(['dataDir']), `dataDir: ${says}`);
  }
  for (const [key, says] of ownAddressesTwice(value)) problems.add(file, read.lineOf([key]), says);
  const intermediateTtl = intermediateTtlOf(read, (line, says) => problems.add(file, line, says));
  problems.throwIfAny('config');
  return {
    ...value,
    trustDomain: parseTrustDomain(value.trustDomain),
    dataDir,
    keyEncryptionKey: resolve(here, value.keyEncryptionKey),
    passphrase: value.passphrase === undefined ? undefined : resolve(here, value.passphrase),
    keys: withPaths(value.keys, here),
    jwt: value.jwt && { ...value.jwt, key: resolve(here, value.jwt.key) },
    audit: {
      ...value.audit,
      checkpointCopies:
        value.audit.checkpointCopies === undefined ? undefined : resolve(here, value.audit.checkpointCopies),
    },
    intermediateTtl,
    file,
  };
}

/** Paths are relative to the config. */
function withPaths({ pkcs11, ...keys }: KeysConfig, here: string): KeysConfig {
  return pkcs11 === undefined
    ? keys
    : { ...keys, pkcs11: { ...pkcs11, pinFile: resolve(here, pkcs11.pinFile) } };
}

function intermediateTtlOf(
  { value, lineOf, writtenAt }: Read<z.infer<typeof CaConfig>>,
  report: (line: number, says: string) => void,
): number {
  const { rootTtl, intermediateTtl } = value;
  if (intermediateTtl === undefined) return Math.min(parseDuration(INTERMEDIATE_TTL), rootTtl);
  if (intermediateTtl > rootTtl) {
    const [given, root] = [writtenAt(['intermediateTtl']), writtenAt(['rootTtl']) ?? ROOT_TTL];
    const says = `intermediateTtl: ${given} is longer than rootTtl (${root}): no certificate outlives its issuer`;
    report(lineOf(['intermediateTtl']), says);
  }
  return intermediateTtl;
}

/** Absolute paths of the CA's own files and sockets; `keys`, `standbyKeys`, `log` and `requests` are folders. */
export const paths = (dataDir: string) => ({
  database: resolve(dataDir, 'ca.db'),
  databaseCopy: resolve(dataDir, 'ca.db.copy'),
  keys: resolve(dataDir, 'keys'),
  standbyKeys: resolve(dataDir, 'standby'),
  generation: resolve(dataDir, 'keys', 'generation'),
  logKey: resolve(dataDir, 'keys', 'log.key'),
  log: resolve(dataDir, 'log'),
  requests: resolve(dataDir, 'requests'),
  admin: resolve(dataDir, 'admin.sock'),
  join: resolve(dataDir, 'join.sock'),
});

/** The largest file that the config may name: those of all TPM manufacturers together are smaller. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** Reads a file that the config names, which decides who is trusted. Throws as `readTrustedFile`. Blocks. */
export const readBeside =
  (file: string) =>
  (path: string): Uint8Array =>
    readTrustedFile(resolve(dirname(file), path), { maxBytes: MAX_FILE_BYTES, code: 'config' });
