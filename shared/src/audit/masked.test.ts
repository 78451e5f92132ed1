import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import type { AuditEvent } from './event.ts';
import { masked, maskedEvent } from './masked.ts';

const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
});
const token = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.${Buffer.from('{"sub":"x"}').toString('base64url')}.c2ln`;
const letters = 'aB3'.repeat(20);
/** RFC 7516 section 7.1: five parts, and the second is empty if the key is agreed or shared. */
const direct = `${Buffer.from('{"alg":"dir","enc":"A128GCM"}').toString('base64url')}..aXY.Y2lwaGVydGV4dA.dGFn`;

const SECRETS: readonly (readonly [string, string])[] = [
  ['private key', String(pem)],
  ['private key', String(pem).slice(0, 80)],
  ['private key', `${String(pem).slice(0, 60)}"quoted" \\ ${letters}`],
  ['JSON Web Token', token],
  ['JSON Web Token', direct],
  ['JSON Web Token', direct.replace('..', '.a2V5.')],
  ['bearer token', `Bearer ${letters}==`],
  ['bearer token', `BeArer  ${letters}==`],
  ['bearer token', `basic \t ${letters}==`],
  ['bearer token', `Bearer%20${letters}`],
  ['AWS access key', 'AKIAIOSFODNN7EXAMPLE'],
  ['AWS secret key', `aws_secret_access_key = ${'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'}`],
  ['GitHub token', `ghp_${letters.slice(0, 36)}`],
  ['GitHub token', `github_pat_${letters.slice(0, 30)}`],
  ['GitLab token', `glpat-${letters.slice(0, 20)}`],
  ['Slack token', `xoxb-${letters.slice(0, 20)}`],
  ['Google API key', `AIza${letters.slice(0, 35)}`],
  ['API key', `sk-proj-${letters.slice(0, 40)}`],
  ['npm token', `npm_${letters.slice(0, 36)}`],
  ['private key', `-----BEGIN PGP PRIVATE KEY BLOCK-----\n${letters}\n-----END PGP PRIVATE KEY BLOCK-----`],
  ['age key', `AGE-SECRET-KEY-1${'Q3'.repeat(29)}`],
  ['URL password', 'postgres://app:S3cretPw@database.internal.example/prod'],
  ['URL password', 'https://user:hunter%402@database.internal.example/x.git'],
  ['URL password', "redis://:p@ss,w:rd'x@database.internal.example:6379"],
  ['basic credentials', 'Basic dXNlcjpwYXNz'],
  ['basic credentials', 'basic%20YTpi//8='],
  ['basic credentials', 'BASIC YWI6Yw=='],
  ['AWS secret key', '"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"'],
  ['AWS secret key', 'AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'],
  ['session token', 'AWS_SESSION_TOKEN=IQoJb3JpZ2luX2VjEJr'],
  ['session token', `"SessionToken" : "${letters}//=="`],
  ['Azure key', `AccountKey=${letters}+/==`],
  ['Slack webhook', `hooks.slack.com/services/T00000000/B00000000/${letters.slice(0, 24)}`],
  ['Google access token', `ya29.${letters}`],
  ['API key', `sk_live_${letters.slice(0, 24)}`],
  ['API key', `rk_test_${letters.slice(0, 24)}`],
  ['Hugging Face token', `hf_${letters.slice(0, 34)}`],
  ['Vault token', `hvs.${letters.slice(0, 24)}`],
  ['SendGrid key', `SG.${letters.slice(0, 22)}.${letters.slice(0, 43)}`],
  ['PyPI token', `pypi-AgEIcHlwaS5vcmc${letters}`],
  ['short bearer token', 'Bearer abc12345'],
  ['short bearer token', 'bearer%20t0k3n-of-mine'],
  ['URL signature', `https://a.blob.core.windows.net/c/f?sv=2024-11-04&sig=${letters.slice(0, 40)}%2B%2F%3D`],
  ['URL signature', `?X-Amz-Signature=${'0a'.repeat(32)}`],
  ['password', 'password=hunter22'],
  ['password', 'PGPASSWORD=S3cretPw'],
  ['password', 'sshpass -v DB_PASSWD=correct-horse-battery'],
  ['password', '{"user":"app","password": "S3cretPw"}'],
  ['password', String.raw`{\"passphrase\":\"S3cretPw\"}`],
  ['password', 'password: "S3cretPw"'],
  ['Docker token', `dckr_pat_${letters.slice(0, 27)}`],
];

/** What may stand before a secret and after it. */
const AROUND: readonly (readonly [string, string])[] = [
  ['', ''],
  ['the peer said: ', ''],
  ['"', '"'],
  ['the token is\n', '\n'],
  ['a\t', '\tb'],
  ['key\r\n', ''],
  ['https://', '@github.com/acme/x.git'],
  ['https://api.example/cb/', ''],
  ['--header=', ''],
  ['spiffe://x/', ''],
  ['clone-', ''],
  ['id_token.', ''],
  ['token%3D', '%26'],
  ['{"body":"{\\n\\"key\\":\\"line\\n', '\\n\\"}"}'],
];

test.each(SECRETS)('I144 a %s is masked wherever it stands, and the rest stays', (name, secret) => {
  for (const [before, after] of AROUND) {
    const detail = `${before}${secret}${after}`;
    const event = { type: 'request.refused', detail, list: [secret, 'last'], after: 7, none: null };
    const made = masked({ ...event, attributes: { [detail]: 'x' } });
    const text = expect.stringContaining(`[masked: ${name}]`);
    expect(made).toEqual({ ...event, detail: text, list: [text, 'last'], attributes: expect.any(Object) });
    for (const part of secret.split(/[\s"\\]+/).filter((each) => each.length > 30))
      expect(JSON.stringify(made)).not.toContain(part);
  }
});

test.each([
  ['an identity', 'spiffe://prod.example/ns/default/sa/web'],
  ['a serial number and digests', `${'40231f0be537b1f565b7feff8280814cd5'} ${'ab'.repeat(32)}`],
  ['a sentence about tokens', 'the bearer token is expected in the header; basic constraints are missing'],
  ['a certificate', '-----BEGIN CERTIFICATE-----MIIB'],
  [
    'a sentence about ways to sign in',
    'Basic Authentication, basic JavaScript; BASIC CONSTRAINTS; Basic auth/login',
  ],
  [
    'an address with a port',
    'https://git.example:8443/a:b@c https://me@git.example:22 {"u":"https://a:1","m":"me@x"}',
  ],
  ['names of keys', 'set SecretAccessKey and AWS_SESSION_TOKEN; "SessionToken": null, AccountKey=none'],
  [
    'names of packages',
    'pypi-publish-to-the-test-registry dckr_pat_ hf_transfer SG.Message.Builder hvs.example ya29.',
  ],
  [
    'sentences about passwords',
    'the password is wrong; password: expected a text; passwords=12345; the passphrase=none',
  ],
  [
    'words in place of a password',
    'password=null password="" password=*** "password": "required" PWD=/root password_hash=abcd',
  ],
  ['what was masked before', 'password=[masked: API key] Bearer [masked: JSON Web Token]'],
  [
    'sentences about bearers',
    'Bearer authentication; bearer token is expected; BEARER realm="a", error="b"; bearer x1',
  ],
  ['other signatures', 'design=abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz ?sig=abc a?signature=0'],
  ['a public key', '-----BEGIN PGP PUBLIC KEY BLOCK-----'],
  ['a word in a longer one', `disk-${letters} xAKIA${letters} ${letters}`],
])('%s stays', (_, text) => {
  expect(masked({ text })).toEqual({ text });
});

test.each([
  ['of all', '-----BEGIN PRIVATE KEYeyJaaaaaaaa.bearer '],
  ['of one run', 'eyJ'],
  ['of tokens without an end', 'eyJaaaaaaaa.eyJaaaaaaaa '],
  ['of short parts', 'eyJ.'],
  ['of long parts', `eyJ${'aeyJ'.repeat(200)}.a `],
  ['of parts without an end', `${'aeyJ'.repeat(200)}. `],
  ['of words before nothing', 'bearer \t %20'],
  ['of basic words', 'basic AAAA'],
  ['of URLs', '://a:b'],
  ['of one URL', `https://a${':b'.repeat(90_000)}`],
  ['of schemes', '://'],
  ['of names at signs', '://:@'],
  ['of names of keys', 'aws_secret access key '],
  ['of two names of keys', 'AccountKey=abc_session_token: ab '],
  ['of keys with points', 'SG.aaaaaaaaaaaaaaaa.'],
  ['of keys that end early', `SG.${'a-SG'.repeat(200)}.`],
  ['of tokens', 'hvs.ya29. hf_sk_live_ dckr_pat_ pypi-AgE '],
  ['of passwords', 'password= passphrase: passwd=abc '],
  ['of quoted passwords', 'password": "" passphrase="abc" password=\\"a\\" passwd: \'\\\\\' '],
  ['of bearers without a digit', 'bearer abcdefghijklm '],
  ['of one bearer', `bearer ${'a.'.repeat(9)} ${'x'.repeat(90_000)}`],
  ['of slashes', 'hooks.slack.com/services/'],
])('a long text of near misses %s is looked at in linear time', (_, part) => {
  const text = part.repeat(200_000 / part.length);
  const begun = performance.now();
  expect(masked(text) === text).toBe(true);
  expect(performance.now() - begun).toBeLessThan(1_000);
});

test.each([
  ['a comma', '{"password":"S3cr,et","user":"app"}', '{"[masked: password]","user":"app"}'],
  ['signs of another kind', `x --password='a&b;c <d> "e"' --user app`, "x --[masked: password]' --user app"],
  ['quotes in JSON', '{"password":"S3\\"cr,et","user":"app"}', '{"[masked: password]","user":"app"}'],
  [
    'quotes in quoted JSON',
    String.raw`{\"password\":\"S3\\\"cr,et\",\"u\":1}`,
    String.raw`{\"[masked: password]\",\"u\":1}`,
  ],
  ['`=` in quoted JSON', String.raw`a password=\"S3cretPw\" b`, String.raw`a [masked: password]\" b`],
  ['none at its start', 'password="none of your business" x', '[masked: password]" x'],
  ['a word of its own at its start', 'password="true story123" x', '[masked: password]" x'],
  ['stars at its start', 'password="***realsecret" x', '[masked: password]" x'],
  ['a mask at its start', 'password="[masked:realsecret" x', '[masked: password]" x'],
  ['a mask and more', 'password="[masked: x] S3cretPw" x', '[masked: password]" x'],
  [
    'none at its start, in quoted JSON',
    String.raw`{\"password\":\"none S3cret\"}`,
    String.raw`{\"[masked: password]\"}`,
  ],
  ['blanks and lines before it', '{"password" :  \n\t"S3cretPw"}', '{"[masked: password]"}'],
  ['no end on its line', 'password="S3cr et\nand more', '[masked: password]\nand more'],
])('I317 a password in quotes with %s is masked to the closing quote', (_, text, shown) => {
  expect(masked(text)).toBe(shown);
});

test('I317 without quotes it ends where the page says', () => {
  for (const end of [' ', '"', "'", '&', ';', ',', '<', '>', '\\'])
    expect(masked(`password=S3cretPw${end}rest`)).toBe(`[masked: password]${end}rest`);
  expect(masked('password=abc,defghij')).toBe('password=abc,defghij');
  for (const text of ['password=none.of.it', 'password=***realsecret', 'password=null-and-more'])
    expect(masked(text)).toBe('[masked: password]');
});

const odd = parseSpiffeId(`spiffe://prod.example/ns/sk-${'0123456789'.repeat(4)}`);
const secret = `AIza${letters.slice(0, 35)}`;
const asWritten = (event: AuditEvent) => maskedEvent(event, JSON.stringify(event));

test.each<[string, AuditEvent]>([
  [
    'the certificate of a voucher',
    {
      type: 'authority.moved',
      moves: [{ serial: '40', from: 'prepared', to: 'published' }],
      voucher: { certificate: `MIIB${secret}`, signature: secret } as never,
    },
  ],
  [
    'the target of a revocation',
    {
      type: 'revocation.made',
      number: 1,
      target: { kind: 'node', value: `tpm/${secret}` } as never,
      reason: 'keyCompromise',
      by: 'alice',
    },
  ],
  [
    'the name of a standby key',
    {
      type: 'authority.certified',
      kind: 'root',
      serial: '40',
      notAfter: 'x',
      standby: { home: 'file', reference: secret, algorithm: 'ecdsa-p256' },
    },
  ],
])('I241 %s is what the CA wrote, and stays', (_, event) => {
  expect(asWritten(event)).toEqual(event);
});

test.each(['xoxb-build-17-of-main', `sk-build-${'0'.repeat(40)}`])(
  'I316 of a certificate the log has what the record has, also for %s',
  (name) => {
    const of = { platform: name, node: `123456789012/assumed-role/build/${name}`, identity: name };
    const event = { type: 'svid.issuing', id: odd, serial: '40', notAfter: 'x', ...of, tbs: 'ab' } as const;
    const whole = { ...event, origin: name, succeeds: name };
    expect(asWritten(whole)).toEqual(whole);
  },
);

test('I241 the identities that the CA has verified stay, and what a gateway says is masked', () => {
  const record = {
    id: secret,
    stage: 'decided',
    time: 'x',
    server: 'git',
    caller: odd,
    tool: secret,
    arguments: { '/repo': `https://${secret}@x` },
  } as const;
  const event = {
    type: 'call.recorded',
    reporter: odd,
    serial: '40',
    spool: 'ab',
    number: 1,
    record,
  } as const;
  const hidden = '[masked: Google API key]';
  expect(asWritten(event)).toEqual({
    ...event,
    record: { ...record, id: hidden, tool: hidden, arguments: { '/repo': `https://${hidden}@x` } },
  });
  const liar = { ...event, record: { ...record, caller: `${odd}?${secret}` } };
  expect(asWritten(liar)).toMatchObject({ record: { caller: expect.not.stringContaining(secret) } });
});

test('of an encrypted token nothing stays', () => {
  expect(masked(`a ${direct} b`)).toBe('a [masked: JSON Web Token] b');
});

test('an event without secrets stays the same', () => {
  const event = { type: 'svid.issued', serial: '40', sha256: 'ab'.repeat(32) } as const;
  expect(asWritten(event)).toBe(event);
});
