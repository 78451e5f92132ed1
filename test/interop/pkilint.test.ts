/** Every kind of certificate that the CA makes, before a judge that is not ours: pkilint's lints of RFC 5280. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OWN_NODE } from '@chancery/ca/agents/holders.ts';
import { issue, type Order } from '@chancery/ca/authority/issue.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { proven } from '../kit/ca/authority.ts';
import { makeRpc, type Rpc } from '../kit/ca/rpc.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const run = promisify(execFile);
const PROGRAM = 'lint_pkix_cert';
const missing = await run(PROGRAM, ['--help']).then(
  () => undefined,
  () => `${PROGRAM} is not on PATH (pip install pkilint==0.13.3)`,
);
if (missing !== undefined) console.log(`skipped: ${missing}`);

const id = (path: string) => parseSpiffeId(`spiffe://prod.example/${path}`);
const dir = makeFolder();
let rpc: Rpc;
beforeAll(async () => {
  rpc = await makeRpc();
});
afterAll(() => removeFolder(dir));
beforeEach(({ skip }) => skip(missing !== undefined, missing));

const issued = async (order: Partial<Order>): Promise<Uint8Array> => {
  const workload = { id: id('web'), platform: 'fake', node: 'n1', identity: 'web', dnsNames: [] };
  const key = await proven();
  return (await issue({ ...workload, ttlSeconds: 3600, key, ...order }, rpc)).chain[0] ?? new Uint8Array();
};
const authority = async (kind: string): Promise<Uint8Array> =>
  (await rpc.store.authorities()).find((each) => each.kind === kind)?.certificate ?? new Uint8Array();

const KINDS: readonly [string, () => Promise<Uint8Array>][] = [
  ['a root', () => authority('root')],
  ['an intermediate', () => authority('intermediate')],
  ['a workload', () => issued({})],
  ['a workload with DNS names', () => issued({ dnsNames: ['web.prod.example', 'www.prod.example'] })],
  [
    'an operator',
    () => issued({ ...OWN_NODE, node: 'operator/ada', id: id('chancery/operator/ada'), role: 'operator' }),
  ],
  ['the CA itself', () => issued({ ...OWN_NODE, id: id('chancery/ca'), role: 'ca' })],
];

/** It knows no scheme but those of the web (the Python package `validators`); RFC 3986 has no such list. */
const SPIFFE_SCHEME = /GeneralNameUriSyntaxValidator @ \S+\n +pkix\.invalid_uri_syntax .*"spiffe:.*"\n/g;

/** What it finds, one a line, of this severity and above. */
async function lint(name: string, der: Uint8Array): Promise<string> {
  const file = join(dir, `${name.replaceAll(' ', '-')}.pem`);
  writeFileSync(file, writePem('CERTIFICATE', der));
  const { stdout } = await run(PROGRAM, ['lint', '-s', 'WARNING', file]).catch((error) => error);
  return stdout.replace(SPIFFE_SCHEME, '').trim();
}

describe('pkilint finds nothing in the certificate of', () => {
  test.each(KINDS)('%s', async (name, make) => {
    expect(await lint(name, await make())).toBe('');
  });
});

test('pkilint finds what is wrong with a certificate', async () => {
  const der = Buffer.from(await issued({}));
  // The serial number, an INTEGER of 20 bytes, becomes negative.
  const at = der.indexOf(Buffer.from('0214', 'hex')) + 2;
  der[at] = (der[at] ?? 0) | 0x80;
  expect(await lint('spoiled', der)).toMatch(/serial/);
});
