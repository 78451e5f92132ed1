import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { MAX_SOCKET_PATH_BYTES } from '@chancery/shared/text/socket-path.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../test/kit/processes.ts';
import { refusal } from '../../test/kit/refusal.ts';
import { paths, readBeside, readCaConfig } from './config.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
const file = join(folder, 'ca.yaml');
const GENUINE = `trustDomain: prod.example
dataDir: data
keyEncryptionKey: /etc/chancery/key
attestors:
  unix: {}
`;
function read(text: string) {
  fs.writeFileSync(file, text);
  return readCaConfig(file);
}

test('defaults are those of docs/config.md; paths are relative to the file', () => {
  expect(read(GENUINE)).toEqual({
    file,
    trustDomain: 'prod.example',
    dataDir: join(folder, 'data'),
    keyEncryptionKey: '/etc/chancery/key',
    listen: '127.0.0.1:8443',
    http: { listen: '127.0.0.1:9464', healthOnly: false },
    keys: {
      root: { home: 'file', algorithm: 'ecdsa-p256' },
      intermediate: { home: 'file', algorithm: 'ecdsa-p256' },
      jwt: { home: 'file', algorithm: 'ecdsa-p256' },
    },
    rootTtl: 3650 * 86_400,
    intermediateTtl: 2 * 86_400,
    crl: { ttl: 3600 },
    jwt: undefined,
    attestors: { unix: {} },
    limits: {
      refusalsInFull: 1,
      attestationsPerSecond: 50,
      attestationBurst: 100,
      openAttestations: 512,
      openAttestationsPerAddress: 64,
      connections: 10_000,
      strangerConnections: 1024,
      connectionsPerCaller: 64,
      reportedBytesPerDay: 17_179_869_184,
    },
    audit: { checkpointCopies: undefined, copyEvery: 3600 },
    logLevel: 'info',
  });
});

test('keys may be in a token, whose PIN is in a file beside the config', () => {
  const { keys } = read(
    `${GENUINE}keys:\n  root: { home: pkcs11, algorithm: ecdsa-p384 }\n  pkcs11: { module: /m.so, token: a b, pinFile: pin }\n`,
  );
  expect(keys).toEqual({
    root: { home: 'pkcs11', algorithm: 'ecdsa-p384' },
    intermediate: { home: 'file', algorithm: 'ecdsa-p256' },
    jwt: { home: 'file', algorithm: 'ecdsa-p256' },
    pkcs11: { module: '/m.so', token: 'a b', pinFile: join(folder, 'pin') },
  });
});

test('keys may be in AWS KMS, whose credentials are not in the file', () => {
  const { keys } = read(
    `${GENUINE}keys:\n  root: { home: aws-kms }\n  aws-kms: { region: eu-west-1, rootKey: alias/root }\n`,
  );
  expect(keys).toEqual({
    root: { home: 'aws-kms', algorithm: 'ecdsa-p256' },
    intermediate: { home: 'file', algorithm: 'ecdsa-p256' },
    jwt: { home: 'file', algorithm: 'ecdsa-p256' },
    'aws-kms': { region: 'eu-west-1', rootKey: 'alias/root' },
  });
});

test.each([
  ['keys: { root: { home: aws-kms } }', /keys\.root\.home: set keys\.aws-kms, too/],
  ['keys: { aws-kms: { region: moon } }', /a region such as eu-west-1 is expected/],
  ['keys: { aws-kms: { region: eu-west-1, endpoint: http://kms.example } }', /http is for loopback only/],
  ['keys: { aws-kms: { region: eu-west-1, endpoint: https://a:b@kms.example } }', /without a user name/],
  ['keys: { aws-kms: { region: eu-west-1, rootKey: a b } }', /an ARN, an id or alias\/NAME is expected/],
  ['keys: { aws-kms: { region: eu-west-1, secretAccessKey: x } }', /secretAccessKey/],
])('I108 %s is refused', (text, message) => {
  expect(() => read(`${GENUINE}${text}\n`)).toThrow(refusal('config', message));
});

test.each([
  ['keys: { root: { home: pkcs11 } }', /keys\.root\.home: set keys\.pkcs11, too/],
  ['keys: { root: { home: memory } }', /keys\.root\.home/],
  ['keys: { root: { algorithm: rsa } }', /keys\.root\.algorithm/],
  ['keys: { pkcs11: { module: m.so, token: a, pinFile: pin } }', /an absolute path is expected/],
  ["keys: { pkcs11: { module: /m.so, token: 'a ', pinFile: pin } }", /1 to 32 printable characters/],
  ['keys: { pkcs11: { module: /m.so, token: a, pin: 1234 } }', /pin/],
])('%s is refused', (text, message) => {
  expect(() => read(`${GENUINE}${text}\n`)).toThrow(refusal('config', message));
});

const JWT = 'listen: 127.0.0.1:8444, certificate: jwt.pem, key: jwt.key';
test('where keys of tokens are served is as it is written, and the paths are relative to the file', () => {
  const { jwt } = read(`${GENUINE}jwt: { issuer: https://id.prod.example/ca, ${JWT} }\n`);
  expect(jwt).toEqual({
    issuer: 'https://id.prod.example/ca',
    listen: '127.0.0.1:8444',
    certificate: 'jwt.pem',
    key: join(folder, 'jwt.key'),
  });
});

test.each([
  'http://a',
  'https://A',
  'https://a/',
  'https://a?b',
  'https://u@a',
  'https://a#b',
  'https://a//b',
])('an issuer %s is refused (I195)', (issuer) => {
  expect(() => read(`${GENUINE}jwt: { issuer: "${issuer}", ${JWT} }\n`)).toThrow(
    refusal('config', /jwt\.issuer: expected https:\/\/HOST in lower case/),
  );
});

test('copies of checkpoints go to a folder that is relative to the file', () => {
  const { audit } = read(`${GENUINE}audit: { checkpointCopies: copies, copyEvery: 5m }\n`);
  expect(audit).toEqual({ checkpointCopies: join(folder, 'copies'), copyEvery: 300 });
  const hook = (text: string) =>
    read(`${GENUINE}audit: { checkpointWebhook: ${text} }\n`).audit.checkpointWebhook;
  expect(hook('{ url: https://auditors.example/x, ca: roots.pem }')).toEqual({
    ...{ url: 'https://auditors.example/x', ca: 'roots.pem' },
  });
  expect(() => hook('{ url: http://auditors.example/x }')).toThrow(
    /cannot be called: write an https address/,
  );
});

test('its folder holds the database, the keys and the sockets', () => {
  expect(paths('/var/lib/chancery')).toEqual({
    database: '/var/lib/chancery/ca.db',
    databaseCopy: '/var/lib/chancery/ca.db.copy',
    keys: '/var/lib/chancery/keys',
    log: '/var/lib/chancery/log',
    logKey: '/var/lib/chancery/keys/log.key',
    generation: '/var/lib/chancery/keys/generation',
    admin: '/var/lib/chancery/admin.sock',
    join: '/var/lib/chancery/join.sock',
    requests: '/var/lib/chancery/requests',
    standbyKeys: '/var/lib/chancery/standby',
  });
});

describe('a file that the config names', () => {
  const pem = join(folder, 'roots.pem');
  const readRoots = () => readBeside(file)('roots.pem');
  beforeEach(() => {
    fs.rmSync(pem, { force: true });
    fs.writeFileSync(pem, 'PEM');
    fs.chmodSync(pem, 0o644);
  });

  test('is read, by a path relative to the config', () => {
    expect(Buffer.from(readRoots()).toString()).toBe('PEM');
  });

  test.each([
    ['may be written by others', () => fs.chmodSync(pem, 0o666), /others may write it \(mode 666\)/],
    ['is a pipe', () => makePipe(pem), /found a pipe/],
    ['leads to a device', () => leadTo('/dev/zero'), /found a device/],
  ])('I72 that %s is refused', (_, spoil, says) => {
    spoil();
    expect(readRoots).toThrow(refusal('config', says));
  });

  test('I72 of another user, or behind a link of another user, is refused', () => {
    if (geteuid?.() !== 0) return console.info('only root may give a file to another user');
    fs.chownSync(pem, 4001, 4001);
    expect(readRoots).toThrow(refusal('config', /belongs to uid 4001, and this is uid 0/));
    leadTo(file);
    fs.lchownSync(pem, 4001, 4001);
    expect(readRoots).toThrow(refusal('config', /the link \S+roots\.pem belongs to uid 4001/));
  });

  const leadTo = (path: string): void => {
    fs.rmSync(pem);
    fs.symlinkSync(path, pem);
  };
  const makePipe = (path: string): void => {
    fs.rmSync(path);
    execFileSync('mkfifo', [path]);
  };
});

describe('is refused', () => {
  test.each<[string, string, RegExp]>([
    [
      'a trust domain in upper case',
      GENUINE.replace('prod', 'Prod'),
      /:1: trustDomain: trust domain has characters outside a-z 0-9 \. _ -: "P" in "Prod\.example"$/m,
    ],
    [
      'a trust domain with a scheme',
      GENUINE.replace('prod', 'spiffe://prod'),
      /:1: trustDomain: .*: write it without spiffe:\/\/ and without a path$/m,
    ],
    [
      'a URL of revocation lists over TLS',
      `${GENUINE}crl: { listen: '0.0.0.0:80', url: https://crl.prod.example }\n`,
      /:6: crl\.url: expected http:/m,
    ],
    [
      'a URL of revocation lists with a query',
      `${GENUINE}crl: { listen: '0.0.0.0:80', url: 'http://crl.prod.example/?a' }\n`,
      /:6: crl\.url: expected http:/m,
    ],
    [
      'a URL of revocation lists that is too long',
      `${GENUINE}crl: { listen: '0.0.0.0:80', url: http://crl.prod.example/${'a'.repeat(180)} }\n`,
      /:6: crl\.url: at most 200 characters$/m,
    ],
    [
      'a URL of revocation lists that nobody serves',
      `${GENUINE}crl: { url: http://crl.prod.example }\n`,
      /:6: crl\.url: set crl\.listen, too/m,
    ],
    [
      'revocation lists for a second',
      `${GENUINE}crl: { ttl: 1s }\n`,
      /:6: crl\.ttl: from 1m to 7d is expected/m,
    ],
    [
      'revocation lists for a month',
      `${GENUINE}crl: { ttl: 30d }\n`,
      /:6: crl\.ttl: from 1m to 7d is expected/m,
    ],
    ['an empty data folder', GENUINE.replace('data\n', "''\n"), /:2: dataDir: /],
    ['an unknown key', `${GENUINE}ttl: 1h\n`, /:6: unknown key ttl$/],
    [
      'T25 a PCR that proves nothing, with what to write instead',
      GENUINE.replace('unix: {}', "tpm: { roots: [a.pem], pcrs: { 16: ['00'] } }"),
      /:5: attestors\.tpm\.pcrs\.16: PCR 16 can be reset .*: write one of 0 to 15 or 17 to 22 instead$/m,
    ],
    [
      'a name of an instance that is none',
      GENUINE.replace('unix: {}', 'kubernetes: { EU_1: { review: {} } }'),
      /:5: attestors\.kubernetes\.EU_1: a name is lower-case letters, digits, dots and dashes$/m,
    ],
    ...[
      ['kubernetes', 'review: {}', 'review: ...'],
      ['kubernetes', 'jwks: { issuer: "https://a" }, audience: b', 'jwks: ..., audience: ...'],
      ['oidc', 'issuer: "https://a"', 'issuer: ...'],
    ].map(([type = '', keys = '', shown = '']): [string, string, RegExp] => [
      `${type} without a name of the instance: ${keys}`,
      GENUINE.replace('unix: {}', `${type}: { ${keys} }`),
      new RegExp(
        `^[^\n]*:5: attestors\\.${type}: a name of your choice is missing: write ${type}: { NAME: { ${shown} } }$`,
      ),
    ]),
    [
      'a cluster with the name of a key, and an unknown key: it does not lack a name',
      GENUINE.replace('unix: {}', 'kubernetes: { review: { review: {}, bogus: 1 } }'),
      /^[^\n]*:5: unknown key attestors\.kubernetes\.review\.bogus$/,
    ],
    ...['kubernetes', 'oidc'].map((type): [string, string, RegExp] => [
      `${type} without an instance`,
      GENUINE.replace('unix: {}', `${type}: {}`),
      new RegExp(
        `:5: attestors\\.${type}: configure at least one, under a name of your choice: ${type}: { NAME`,
      ),
    ]),
    ['an unknown limit', `${GENUINE}limits: { agents: 1 }\n`, /:6: unknown key limits\.agents$/],
    ['an unknown platform', GENUINE.replace('unix', 'aws'), /:5: unknown key attestors\.aws\n/],
    [
      'no platform',
      GENUINE.replace('\n  unix: {}', ' {}'),
      /:4: attestors: configure at least one attestor, for instance "unix: \{\}"$/,
    ],
    ['an address without a port', `${GENUINE}listen: localhost\n`, /:6: listen: expected host:port/],
    ['a port beyond the last', `${GENUINE}listen: localhost:65536\n`, /:6: listen: a port is at most 65535$/],
    ['an address with a path', `${GENUINE}listen: localhost:80/x\n`, /:6: listen: expected host:port/],
    [
      'metrics for everybody',
      `${GENUINE}http: 0.0.0.0:9464\n`,
      /:6: http: health and metrics are plain HTTP: loopback only; beyond it write \{ listen: HOST:PORT, healthOnly: true \}$/,
    ],
    [
      'metrics on an address that begins alike',
      `${GENUINE}http: 127.0.0.1.example:9464\n`,
      /:6: http: .*loopback only; /,
    ],
    [
      'metrics on a name that begins alike',
      `${GENUINE}http: localhost.example:9464\n`,
      /:6: http: .*loopback only; /,
    ],
    [
      'a lifetime that is none',
      `${GENUINE}rootTtl: ten years\n`,
      /:6: rootTtl: "ten years" is not a length of time/,
    ],
    [
      'an issuing certificate that ends at once',
      `${GENUINE}intermediateTtl: 59m\n`,
      /:6: intermediateTtl: at least 1h is expected, found 59m: an SVID never outlives/,
    ],
    [
      'a root that ends at once',
      `${GENUINE}rootTtl: 30m\n`,
      /:6: rootTtl: at least 1h is expected, found 30m: an SVID never outlives/,
    ],
    [
      'an issuing certificate that outlives its root',
      `${GENUINE}rootTtl: 24h\nintermediateTtl: "10d"\n`,
      /:7: intermediateTtl: 10d is longer than rootTtl \(24h\): no certificate outlives its issuer$/,
    ],
    [
      'an issuing certificate that outlives a root of the default lifetime',
      `${GENUINE}intermediateTtl: 4000d\n`,
      /:6: intermediateTtl: 4000d is longer than rootTtl \(3650d\): no certificate outlives its issuer$/,
    ],
    [
      'a limit of nothing',
      `${GENUINE}limits: { connections: 0 }\n`,
      /:6: limits\.connections: a number of at least 8 is expected, found 0$/,
    ],
    ['a level that is none', `${GENUINE}logLevel: loud\n`, /:6: logLevel: /],
    ['two documents', `${GENUINE}---\n${GENUINE}`, /ca\.yaml: expected one YAML document with trustDomain/],
    ['no document', '# nothing\n', /ca\.yaml: expected one YAML document with trustDomain/],
  ])('%s', (_, text, message) => {
    expect(() => read(text)).toThrow(refusal('config', message));
  });

  test('I92 a data folder whose sockets would have too long a path, with its length', () => {
    const dataDir = `/var/${'x'.repeat(100)}`;
    expect(() => read(GENUINE.replace('data\n', `${dataDir}\n`))).toThrow(
      refusal(
        'config',
        new RegExp(`:2: dataDir: ${dataDir}/admin.sock has 116 bytes, .* at most ${MAX_SOCKET_PATH_BYTES}`),
      ),
    );
  });

  test('everything at once, with file and line', () => {
    const spoiled = `${GENUINE.replace('prod', 'Prod').replace('unix', 'aws')}listen: x\nttl: 1h\n`;
    expect(() => read(spoiled)).toThrow(
      refusal('config', /:1: trustD.*\n.*:5: unk.*\n.*:5: att.*\n.*:6: listen.*\n.*:7: unknown key ttl$/),
    );
  });

  test('a file that is not there', () => {
    expect(() => readCaConfig(join(folder, 'none.yaml'))).toThrow(
      refusal('config', /none\.yaml: no such file$/),
    );
  });
});

test.each([
  ['1d', 86_400],
  ['2d', 172_800],
  ['30d', 172_800],
])(
  'a root that lives %s, and no other lifetime, is enough: the issuing certificate lives %i s',
  (root, ttl) => {
    expect(read(`${GENUINE}rootTtl: ${root}\n`).intermediateTtl).toBe(ttl);
  },
);

test('the URL of revocation lists has no slash at its end', () => {
  const crl = "crl: { listen: '0.0.0.0:8880', url: 'http://crl.prod.example:8880/lists/' }";
  expect(read(`${GENUINE}${crl}\n`).crl.url).toBe('http://crl.prod.example:8880/lists');
});

test.each([
  ['127.0.0.1:9000', '127.0.0.1:9000'],
  ['localhost:9000', '127.0.0.1:9000'],
  ['localhost:9000', '[::1]:9000'],
  ['0.0.0.0:9000', 'localhost:9000'],
  ['[::]:9000', '127.0.0.1:9000'],
])('the CA cannot listen on %s and serve health on %s', (listen, http) => {
  expect(() => read(`${GENUINE}listen: '${listen}'\nhttp: '${http}'\n`)).toThrow(
    refusal('config', /:7: http: listen is \S+:9000, too \(\S+:9000 here\); each needs its own$/),
  );
});

test.each([
  ['127.0.0.1:9000', '[::1]:9000'],
  ['127.0.0.1:9000', '127.0.0.1:9001'],
  ['127.0.0.1:0', '127.0.0.1:0'],
])('the CA can listen on %s and serve health on %s', (listen, http) => {
  expect(read(`${GENUINE}listen: '${listen}'\nhttp: '${http}'\n`).listen).toBe(listen);
});

test.each(['[::1]:8443', '0.0.0.0:0', 'ca.example:65535'])('%s is an address', (listen) => {
  expect(read(`${GENUINE}listen: '${listen}'\n`).listen).toBe(listen);
});
