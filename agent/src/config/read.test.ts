import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '@chancery/shared/text/socket-path.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { readAgentConfig } from './read.ts';
import { paths } from './schema.ts';

const dir = mkdtempSync(join(tmpdir(), 'config-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'agent.yaml');
const read = (content: object | string) => {
  writeFileSync(file, typeof content === 'string' ? content : stringify(content));
  return readAgentConfig(file);
};
const refusal = (content: object | string): string => {
  try {
    read(content);
  } catch (error) {
    expect(error).toMatchObject({ code: 'config' });
    return String((error as Error).message).replaceAll(`${file}:`, '');
  }
  return expect.fail('it was accepted');
};

const least = {
  trustDomain: 'prod.example',
  ca: { address: 'ca.internal:8443', bundle: 'bundle.pem' },
  evidence: { tpm: {} },
  dataDir: 'data',
};

describe('accepted configs', () => {
  test('the least, with its defaults and its paths made absolute', () => {
    expect(read(least)).toEqual({
      trustDomain: 'prod.example',
      ca: { address: 'ca.internal:8443', bundle: join(dir, 'bundle.pem') },
      evidence: { tpm: { device: '/dev/tpmrm0', key: 'memory' } },
      dataDir: join(dir, 'data'),
      outputs: [],
      connect: [],
      logLevel: 'info',
      where: expect.any(Function),
    });
  });

  test('a gateway reports its records to the CA, unless it is told not to', () => {
    const gateway = { server: 'github', listen: '0.0.0.0:8443', upstream: { url: 'http://x/mcp' } };
    const reportOf = (more: object) => read({ ...least, gateway: { ...gateway, ...more } }).gateway?.report;
    const byDefault = { maxBytes: 256 * 1024 * 1024 };
    expect([reportOf({}), reportOf({ records: false })]).toEqual([byDefault, byDefault]);
    expect(reportOf({ report: { maxBytes: 2 ** 20 } })).toEqual({ maxBytes: 2 ** 20 });
    expect(reportOf({ report: false })).toBe(false);
  });

  test('everything', () => {
    const settings = read({
      ...least,
      ca: { address: '[::1]:8443', pin: 'ab'.repeat(32), socket: 'join.sock' },
      evidence: { unix: {} },
      id: 'spiffe://prod.example/web',
      outputs: [{ dir: 'out', mode: '0640', uid: 1, command: ['true'], signal: { pidFile: 'run/pid' } }],
      gateway: { server: 'github', listen: '0.0.0.0:8443', upstream: { socket: 'mcp.sock' } },
      connect: [
        { server: 'a', listen: 'unix:a.sock' },
        { server: 'b', listen: '127.0.0.1:9000' },
        { server: 'c', listen: '127.0.0.1:0' },
        { server: 'd', listen: '127.0.0.1:0' },
      ],
    });
    expect(settings.ca.socket).toBe(join(dir, 'join.sock'));
    expect(settings.outputs).toEqual([
      {
        dir: join(dir, 'out'),
        mode: '0640',
        uid: 1,
        command: ['true'],
        signal: { pidFile: join(dir, 'run/pid'), name: 'SIGHUP' },
      },
    ]);
    expect(settings.gateway).toMatchObject({
      records: join(dir, 'data', 'calls.jsonl'),
      servers: [
        {
          server: 'github',
          upstream: { socket: join(dir, 'mcp.sock'), path: '/mcp' },
          maxCallDuration: 86_400,
          freeText: { instructions: true, logs: true },
        },
      ],
    });
    expect(settings.connect.map(({ listen }) => listen)).toEqual([
      `unix:${join(dir, 'a.sock')}`,
      '127.0.0.1:9000',
      '127.0.0.1:0',
      '127.0.0.1:0',
    ]);
  });

  test('several servers behind one gateway', () => {
    const upstream = { url: 'http://x/mcp' };
    const servers = [
      { server: 'github', upstream, sessions: { max: 7 } },
      { server: 'mail', upstream: { socket: 'mail.sock' }, maxCallDuration: '1h', freeText: { logs: false } },
    ];
    const settings = read({ ...least, gateway: { listen: '0.0.0.0:8443', servers } });
    expect(settings.gateway?.servers).toMatchObject([
      { server: 'github', upstream, sessions: { max: 7, idle: 3600 }, maxCallDuration: 86_400 },
      {
        server: 'mail',
        upstream: { socket: join(dir, 'mail.sock') },
        maxCallDuration: 3600,
        freeText: { instructions: true, logs: false },
      },
    ]);
  });

  test('a key in the TPM, with a folder for it', () => {
    const settings = read({ ...least, evidence: { tpm: { key: 'tpm' } }, outputs: [{ dir: 'out' }] });
    expect(settings.evidence?.tpm?.key).toBe('tpm');
  });

  test('the files in dataDir', () => {
    expect(paths('/d')).toEqual({
      state: '/d/state.json',
      socket: '/d/agent.sock',
      crls: '/d/crls',
      spool: '/d/spool',
    });
  });
});

const gateway = { server: 'github', listen: '127.0.0.1:1', upstream: { url: 'http://127.0.0.1:2/mcp' } };
const other = (server = 'mail') => ({ server, upstream: { url: 'http://127.0.0.1:2/mcp' } });
const inTpm = { ...least, evidence: { tpm: { key: 'tpm' } }, outputs: [{ dir: 'out' }] };

describe('refused configs', () => {
  test.each<readonly [string, object | string, RegExp]>([
    ...(
      [
        ['{}', 'an empty map'],
        ['{ ulr: x }', 'a map with ulr'],
        ['{ url: "http://x", command: [a] }', 'a map with url, command'],
        ['{ url: "http://x", path: /mcp }', 'a map with url, path'],
        ['http://x', 'a string'],
      ] as const
    ).map(
      ([upstream, found]) =>
        [
          `an upstream that is ${upstream}`,
          `${stringify(least)}gateway:\n  server: a\n  listen: a:1\n  upstream: ${upstream}\n`,
          new RegExp(
            `gateway.upstream: a map with url \\(and roots or identity\\), or with socket and path, or with command, env, user and group is expected, found ${found}$`,
          ),
        ] as const,
    ),
    ...(
      [
        [{ url: 'http://x', roots: 'r.pem' }, 'roots: this is for a url of https'],
        [{ url: 'http://x', identity: 'spiffe://a.b/c' }, 'identity: this is for a url of https'],
        [
          { url: 'https://x', roots: 'r.pem', identity: 'spiffe://a.b/c' },
          'identity: set roots or identity, not both',
        ],
        [{ url: 'https://x', identity: 'https://a.b/c' }, 'identity: .*spiffe'],
      ] as const
    ).map(
      ([upstream, says]) =>
        [
          JSON.stringify(upstream),
          { ...least, gateway: { ...gateway, upstream } },
          new RegExp(says),
        ] as const,
    ),
    [
      'a user that is neither a name nor a number',
      { ...least, gateway: { ...gateway, upstream: { command: ['a'], user: true } } },
      /gateway\.upstream\.user: a name or a number is expected, found true$/,
    ],
    [
      'a gateway whose calls leave no record',
      { ...least, gateway: { ...gateway, records: false, report: false } },
      /gateway\.records: records and report are both false: calls would leave no record anywhere/,
    ],
    [
      'a gateway of one server and of several',
      { ...least, gateway: { ...gateway, servers: [other()] } },
      /^\d+: gateway\.server: this belongs into an entry of servers where there are servers$/m,
    ],
    [
      'a gateway of several servers that has what is of one of them',
      { ...least, gateway: { listen: 'a:1', servers: [other()], freeText: {} } },
      /^\d+: gateway\.freeText: this belongs into an entry of servers/m,
    ],
    [
      'a gateway that has one server twice',
      { ...least, gateway: { listen: 'a:1', servers: [other(), other()] } },
      /^\d+: gateway\.servers\.1\.server: servers\.0\.server is mail, too$/m,
    ],
    [
      'a gateway of no server',
      { ...least, gateway: { listen: 'a:1' } },
      /gateway\.server: missing \(the name of an McpServer is expected, or servers\)\n\d+: gateway\.upstream: missing/,
    ],
    [
      'a gateway of 17 servers',
      {
        ...least,
        gateway: {
          listen: 'a:1',
          servers: Array.from({ length: 17 }, (_, n) => other(`s${n}`)),
        },
      },
      /gateway\.servers/,
    ],
    [
      'a gateway of a server that no McpServer can be',
      { ...least, gateway: { ...gateway, server: 'Everything_' } },
      /gateway\.server: a name is lower-case letters, digits and inner hyphens/,
    ],
    [
      'connect to a server that no McpServer can be',
      { ...least, connect: [{ server: 'everything-', listen: '127.0.0.1:1' }] },
      /connect\.0\.server: a name is lower-case letters, digits and inner hyphens/,
    ],
    ['health at an empty map', { ...least, http: {} }, /http\.listen: missing/],
    ['health at another key', { ...least, http: { lsten: 'a:1' } }, /unknown key http\.lsten/],
    [
      'health at a number',
      { ...least, http: 8080 },
      /http: host:port, for instance 127\.0\.0\.1:9464, or a map with listen and healthOnly is expected, found a number$/,
    ],
    ['no CA', { ...least, ca: undefined }, /^1: ca: /],
    ['neither bundle nor pin', { ...least, ca: { address: 'ca:1' } }, /ca: set `bundle` or `pin`/],
    [
      'both bundle and pin',
      { ...least, ca: { ...least.ca, pin: 'ab'.repeat(32) } },
      /ca: set `bundle` or `pin`/,
    ],
    ['a short pin', { ...least, ca: { address: 'ca:1', pin: 'ab' } }, /ca\.pin: SHA-256 of the root/],
    ['no port', { ...least, ca: { ...least.ca, address: 'ca' } }, /ca\.address: expected host:port/],
    [
      'unix without the CA’s socket',
      { ...least, evidence: { unix: {} } },
      /^\d: ca\.socket: the unix platform needs the path/,
    ],
    ['no platform', { ...least, evidence: {} }, /evidence: name a platform, for instance "tpm: \{\}"/],
    [
      'neither auto nor evidence',
      { ...least, evidence: undefined },
      /write either platform: auto or evidence/,
    ],
    ['auto and evidence', { ...least, platform: 'auto' }, /write either platform: auto or evidence/],
    ['another platform than auto', { ...least, platform: 'tpm' }, /platform: .*"auto"/],
    ['a broken trust domain', { ...least, trustDomain: 'Prod.Example' }, /^1: trustDomain: /],
    ['a broken SPIFFE ID', { ...least, id: 'spiffe://prod.example/../a' }, /id: /],
    [
      'a SPIFFE ID of another trust domain',
      { ...least, id: 'spiffe://test.example/a' },
      /id: spiffe:\/\/test\.example\/a is not of trust domain prod\.example/,
    ],
    ['an unknown key', { ...least, datadir: 'x' }, /unknown key datadir/],
    ['an unknown key deep down', { ...least, ca: { ...least.ca, pins: [] } }, /unknown key ca\.pins/],
    ['a mode that is a number', { ...least, outputs: [{ dir: 'o', mode: 416 }] }, /outputs\.0\.mode/],
    [
      'a mode without its zero',
      { ...least, outputs: [{ dir: 'o', mode: '640' }] },
      /a file mode such as 0600/,
    ],
    ...['0601', '0602', '0604', '0666', '0641'].map((mode): [string, object, RegExp] => [
      `a mode with rights for everybody (${mode})`,
      { ...least, outputs: [{ dir: 'o', mode }] },
      /^\d+: outputs\.0\.mode: a file mode such as 0600 or 0640 is expected: only the owner and the group may have rights$/,
    ]),
    ...['uid', 'gid'].map((key): [string, object, RegExp] => [
      `a ${key} that means "do not change"`,
      { ...least, outputs: [{ dir: 'o', [key]: 4_294_967_295 }] },
      new RegExp(`outputs\\.0\\.${key}: a number of at most 4294967294 is expected, found 4294967295$`),
    ]),
    [
      'one folder for two outputs',
      { ...least, outputs: [{ dir: 'o' }, { dir: 'p' }, { dir: './p/' }] },
      /^\d+: outputs\.2\.dir: outputs\.1\.dir is \S+\/p, too; each needs its own$/,
    ],
    [
      'one address for connect and the gateway',
      {
        ...least,
        gateway: { ...gateway, listen: '127.0.0.1:9' },
        connect: [{ server: 'a', listen: '127.0.0.1:9' }],
      },
      /^\d+: connect\.0\.listen: gateway\.listen is 127\.0\.0\.1:9, too; each needs its own$/,
    ],
    [
      'one address for connect and health',
      { ...least, http: '127.0.0.1:9', connect: [{ server: 'a', listen: '127.0.0.1:9' }] },
      /^\d+: connect\.0\.listen: http is 127\.0\.0\.1:9, too/,
    ],
    ...['0.0.0.0', '[::]'].map((host): [string, object, RegExp] => [
      `one port for connect and for the gateway on ${host}`,
      {
        ...least,
        gateway: { ...gateway, listen: `${host}:9` },
        connect: [{ server: 'a', listen: '127.0.0.1:9' }],
      },
      /^\d+: connect\.0\.listen: gateway\.listen is \S+:9, too; each needs its own$/,
    ]),
    [
      "the agent's own socket for connect",
      { ...least, connect: [{ server: 'a', listen: 'unix:data/agent.sock' }] },
      /^\d+: connect\.0\.listen: agent\.sock is unix:\S+agent\.sock, too/,
    ],
    [
      'one socket for two servers',
      { ...least, connect: ['a', 'b'].map((server) => ({ server, listen: 'unix:a.sock' })) },
      /^\d+: connect\.1\.listen: connect\.0\.listen is unix:\S+a\.sock, too/,
    ],
    [
      'a name of an issuer that is none',
      { ...least, evidence: { oidc: { issuer: 'A' } } },
      /evidence\.oidc\.issuer: a name is lower-case letters/,
    ],
    [
      'a name of a variable that is none',
      { ...least, evidence: { oidc: { tokenVariable: '1' } } },
      /evidence\.oidc\.tokenVariable: the name of a variable is letters/,
    ],
    [
      'a command that is a shell line',
      { ...least, outputs: [{ dir: 'o', command: 'true' }] },
      /outputs\.0\.command/,
    ],
    [
      'connect on every interface',
      { ...least, connect: [{ server: 'a', listen: '0.0.0.0:1' }] },
      /expected unix:PATH or 127\.0\.0\.1:PORT/,
    ],
    [
      'a TPM without a resource manager',
      { ...least, evidence: { tpm: { device: '/dev/tpm0' } } },
      /use \/dev\/tpmrm0/,
    ],
    [
      'a gateway with a key in the TPM',
      { ...inTpm, gateway },
      /gateway: this needs a key that the agent can use itself: write evidence\.tpm\.key: memory/,
    ],
    [
      'local addresses with a key in the TPM',
      { ...inTpm, connect: [{ server: 'a', listen: 'unix:a.sock' }] },
      /connect: this needs a key that the agent can use itself/,
    ],
    [
      'a full chain beside a key in the TPM',
      { ...inTpm, outputs: [{ dir: 'out', chain: 'full' }] },
      /outputs\[0\]\.chain: an agent whose key is in the TPM has no trust stream/,
    ],
    [
      'a key in the TPM without an output',
      { ...inTpm, outputs: [] },
      /outputs: a key in the TPM is of use by its file only/,
    ],
    ['nothing', '', /expected one YAML document with trustDomain/],
    ['two documents', `${stringify(least)}---\n${stringify(least)}`, /expected one YAML document/],
    ['a key given twice', `${stringify(least)}dataDir: other\n`, /this key is set twice/],
  ])('%s', (_, content, says) => {
    expect(refusal(content)).toMatch(says);
  });

  test('I92 paths of sockets that are longer than a socket can have, each with its length', () => {
    const long = `/run/${'x'.repeat(110)}`;
    const config = {
      ...least,
      ca: { ...least.ca, socket: long },
      dataDir: long,
      gateway: { server: 's', listen: '127.0.0.1:1', upstream: { socket: long } },
      connect: [{ server: 's', listen: `unix:${long}` }],
    };
    const says = refusal(config);
    const [max, bytes] = [MAX_SOCKET_PATH_BYTES, long.length];
    for (const [key, path, length] of [
      ['dataDir', `${long}/agent.sock`, bytes + '/agent.sock'.length],
      ['ca', long, bytes],
      ['gateway', long, bytes],
      ['connect', long, bytes],
    ])
      expect(says).toContain(
        `${key}: ${path} has ${length} bytes, and the path of a socket has at most ${max}`,
      );
    const fits = `/run/${'x'.repeat(max - '/run/'.length)}`;
    expect(read({ ...least, ca: { ...least.ca, socket: fits } }).ca.socket).toBe(fits);
  });

  test('every problem at once, each with its line', () => {
    const said = refusal(
      'trustDomain: UPPER\nca: { address: here }\nevidence: {}\ndataDir: ""\nunknown: 1\nlogLevel: loud\n',
    );
    for (const [line, what] of [
      [1, 'trustDomain'],
      [2, 'ca.address'],
      [3, 'evidence'],
      [4, 'dataDir'],
      [5, 'unknown key unknown'],
      [6, 'logLevel'],
    ] as const)
      expect(said).toMatch(new RegExp(`^${line}: .*${what}`, 'm'));
  });

  test('every contradiction at once', () => {
    const said = refusal({ ...inTpm, id: 'spiffe://test.example/a', gateway, outputs: [] });
    for (const key of ['id', 'gateway', 'outputs']) expect(said).toMatch(new RegExp(`^\\d+: ${key}: `, 'm'));
  });

  test('no config at all, with what was looked for', () => {
    expect(() => readAgentConfig('/etc/chancery/agent.yaml')).toThrow(
      /agent\.yaml: no such file, nor \.\/agent\.yaml; name one with --config$/,
    );
  });

  test('a file that cannot be read', () => {
    expect(() => readAgentConfig(join(dir, 'none.yaml'))).toThrow(
      expect.objectContaining({ code: 'config', message: expect.stringContaining('no such file') }),
    );
  });
});
