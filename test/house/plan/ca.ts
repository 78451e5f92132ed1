/** The plan's rooms of the CA. */
import { ca, PROTO, shared } from './rooms.ts';

/** The CA's rooms. Siblings that are not named here get values from serve.ts. */
export const CA: Readonly<Record<string, readonly string[]>> = {
  'ca/src/store/sqlite/holders': shared('ground evidence'),
  'ca/src/store': shared('ground spiffe evidence keys revocation audit'),
  'ca/src/store/sqlite/tables': [
    ...shared('text ground spiffe evidence keys revocation audit'),
    ...ca('store'),
  ],
  'ca/src/store/sqlite/jwt': [...shared('ground keys revocation audit'), ...ca('store store/sqlite/tables')],
  'ca/src/store/sqlite': [
    ...shared('ground unix spiffe evidence keys x509 revocation audit'),
    ...ca('store store/sqlite/holders store/sqlite/tables store/sqlite/jwt'),
  ],
  'ca/src/log/copies': [...shared('ground tlog audit-verify outbound'), ...ca('store')],
  'ca/src/log': [
    ...shared('ground unix config tlog spiffe keys voucher outbound'),
    ...ca('store log/copies'),
  ],
  'ca/src/agents': [...shared('ground spiffe evidence revocation'), ...ca('store')],
  'ca/src/tokens': shared('ground outbound'),
  'ca/src/attestors': [
    ...shared('text ground unix config der spiffe evidence aws x509 tpm outbound'),
    ...ca('tokens'),
  ],
  'ca/src/keys/pkcs11': shared('ground unix keys'),
  'ca/src/keys/aws-kms': shared('text ground aws keys'),
  'ca/src/keys': [...shared('ground unix config aws keys outbound'), ...ca('store keys/pkcs11 keys/aws-kms')],
  'ca/src/authority': [...shared('ground spiffe evidence keys x509 voucher'), ...ca('store keys')],
  'ca/src/ceremony': [...shared('ground unix der spiffe keys x509 voucher'), ...ca('store authority')],
  'ca/src/revocation': [...shared('ground spiffe evidence revocation'), ...ca('store agents')],
  'ca/src/crl': [...shared('ground health keys x509 revocation'), ...ca('store keys authority')],
  'ca/src/offline': [...shared('ground unix spiffe keys x509'), ...ca('store keys authority ceremony crl')],
  'ca/src/cross': [...shared('ground spiffe x509'), ...ca('store keys authority ceremony')],
  'ca/src/registry/identity': shared('ground config spiffe evidence policy'),
  'ca/src/registry': [...shared('ground config spiffe policy mcp'), ...ca('store registry/identity')],
  'ca/src/impact': [...shared('ground spiffe'), ...ca('agents registry/identity registry')],
  'ca/src/rotation': [
    ...shared('text ground spiffe x509 voucher revocation audit'),
    ...ca('store agents keys authority ceremony offline'),
  ],
  'ca/src/jwt': [
    ...shared('ground config spiffe health audit'),
    ...ca('store agents keys authority rotation'),
  ],
  'ca/src/recovery': [...shared('ground spiffe tlog voucher revocation'), ...ca('store revocation')],
  'ca/src/succession': [...shared('ground spiffe evidence x509'), PROTO, ...ca('store revocation')],
  'ca/src/serving': [...shared('ground x509'), ...ca('store keys authority')],
  'ca/src/door': shared('ground spiffe evidence door door/http2 health audit'),
  'ca/src/recheck': [
    ...shared('ground spiffe x509'),
    ...ca('store agents authority registry/identity registry'),
  ],
  'ca/src/operator': [
    ...shared('text ground unix spiffe x509 policy revocation audit'),
    ...ca('store keys agents authority jwt registry/identity registry impact rotation revocation'),
    ...ca('ceremony offline cross recovery serving log recheck'),
  ],
  'ca/src/sign-in': [
    ...shared('text ground spiffe evidence x509 outbound policy'),
    ...ca('store agents tokens authority revocation operator'),
  ],
  'ca/src/rpc': [...shared('text ground unix spiffe door rpc x509 tls audit'), ...ca('door operator')],
  'ca/src/rpc/exchange': [
    ...shared('ground spiffe evidence door x509 revocation'),
    PROTO,
    ...ca('store agents attestors authority registry/identity registry revocation succession door rpc'),
  ],
  'ca/src/rpc/trust': [
    ...shared('ground spiffe evidence voucher revocation'),
    PROTO,
    ...ca('log agents authority registry recovery crl succession door rpc rpc/exchange'),
  ],
  'ca/src/rpc/report': [...shared('ground evidence audit'), PROTO, ...ca('store registry rpc rpc/exchange')],
  'ca/src/rpc/operator': [
    ...shared('ground spiffe evidence voucher x509 revocation audit'),
    PROTO,
    ...ca('store log agents keys jwt registry rotation offline cross door serving operator sign-in rpc'),
  ],
  'ca/src/rpc/server.ts': [
    ...shared('door door/http2 rpc audit'),
    ...ca('door rpc rpc/exchange rpc/trust rpc/report rpc/operator'),
  ],
  'ca/src/health': [...shared('health'), ...ca('authority')],
  'ca/src/own-addresses.ts': shared('text'),
  'ca/src/config.ts': [
    ...shared('text ground unix config spiffe health'),
    ...ca('attestors keys log jwt sign-in own-addresses.ts'),
  ],
  'ca/src/own-certificate.ts': [...shared('ground spiffe keys x509'), ...ca('agents authority revocation')],
  'ca/src/upkeep.ts': [...shared('ground'), ...ca('store log authority jwt revocation own-certificate.ts')],
  'ca/src/measure.ts': [
    ...shared('ground'),
    ...ca('store log agents authority jwt registry revocation recovery crl door health'),
  ],
  'ca/src/open-keys.ts': [...shared('keys'), ...ca('keys config.ts')],
  'ca/src/open-public.ts': [...shared('text ground keys'), ...ca('authority crl jwt config.ts')],
  'ca/src/open-log.ts': [
    ...shared('ground unix tlog keys outbound'),
    ...ca('store log log/copies config.ts'),
  ],
  'ca/src/open-outside.ts': [
    ...shared('ground outbound'),
    ...ca('store attestors tokens sign-in serving config.ts'),
  ],
  'ca/src/open-recovery.ts': [
    ...shared('ground'),
    ...ca('store authority jwt registry revocation recovery config.ts own-certificate.ts open-log.ts'),
  ],
  'ca/src/serve.ts': [
    ...shared('text ground unix spiffe door rpc health audit'),
    ...ca('store store/sqlite agents keys authority jwt registry rotation revocation'),
    ...ca(
      'offline cross succession sign-in open-keys.ts open-log.ts open-public.ts door operator rpc rpc/exchange',
    ),
    ...ca(
      'open-outside.ts serving rpc/server.ts config.ts own-certificate.ts upkeep.ts measure.ts open-recovery.ts',
    ),
  ],
  'ca/src/backup': [
    ...shared('text ground unix tlog keys'),
    ...ca('store keys store/sqlite log/copies config.ts'),
  ],
  'ca/src/cli': [
    ...shared('text ground unix cli config der spiffe keys tlog'),
    PROTO,
    ...ca('store store/sqlite attestors keys authority ceremony offline jwt registry config.ts'),
    ...ca('open-keys.ts open-log.ts serve.ts'),
  ],
  'ca/src/cli/login': [
    ...shared('text ground unix cli der spiffe keys x509 tls tlog voucher outbound'),
    PROTO,
    ...ca('tokens sign-in cli'),
  ],
  'ca/src/cli/operator': [
    ...shared('ground unix cli config spiffe evidence policy revocation'),
    PROTO,
    ...ca('agents registry config.ts cli cli/login'),
  ],
  'ca/src/cli/audit': [
    ...shared('ground cli tlog audit-verify config spiffe audit'),
    PROTO,
    ...ca('registry config.ts open-log.ts cli cli/operator'),
  ],
  'ca/src/cli/check': [
    ...shared('text ground unix cli keys x509 outbound'),
    PROTO,
    ...ca(
      'store store/sqlite attestors keys authority registry serving config.ts open-keys.ts cli cli/operator',
    ),
  ],
  'ca/src/cli/rotation': [
    ...shared('text ground unix cli config keys'),
    PROTO,
    ...ca('cli cli/operator serving'),
  ],
  'ca/src/cli/review': [...shared('text ground cli'), PROTO, ...ca('cli cli/operator')],
  'ca/src/cli/backup': [
    ...shared('text ground cli audit-verify'),
    ...ca('backup store/sqlite config.ts open-log.ts cli cli/operator'),
  ],
  'ca/src/cli/keys': [
    ...shared('ground cli'),
    ...ca('store/sqlite keys operator config.ts open-keys.ts serve.ts cli cli/operator'),
  ],
  'ca/src/cli/ceremony': [...shared('ground cli config der spiffe keys x509'), ...ca('ceremony')],
  'ca/src/cli/program.ts': [
    ...shared('ground cli'),
    ...ca(
      'cli cli/login cli/operator cli/rotation cli/review cli/backup cli/keys cli/ceremony cli/check cli/audit',
    ),
  ],
  'ca/src/main.ts': [...shared('ground cli'), ...ca('cli/program.ts')],
};
