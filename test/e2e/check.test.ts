/** `check` finds what `serve` would refuse, and changes nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writePem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAuthority, makeLeaf } from '../kit/certificates.ts';
import { type CaFolder, makeCa, makeFolder, removeFolder } from '../kit/processes.ts';

const TRUST_DOMAIN = 'check.example';

const dir = makeFolder();
afterAll(() => removeFolder(dir));

const root = makeAuthority('Manufacturer');
const leaf = makeLeaf(`spiffe://${TRUST_DOMAIN}/web`, root);
const pems = [leaf, root].map(({ certificate }) => writePem('CERTIFICATE', certificate.der));

let ca: CaFolder;
beforeAll(async () => {
  writeFileSync(join(dir, 'roots.pem'), pems.join(''));
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, tpm: { roots: ['roots.pem'] } } });
});

test('an unusable root of a file is a warning at serve and check, and an error at check --strict', async () => {
  const says = 'attestors.tpm: roots.pem: certificate 1 of 2 is skipped: an issuer is not an authority';
  expect(await ca.cli('check')).toMatchObject({ status: 0, stderr: `warning: ${says}\n` });
  expect(await ca.cli('check', '--strict')).toEqual({
    status: 2,
    stdout: '',
    stderr: `chancery-ca: ${says}\n`,
  });
  const running = await ca.serve();
  await running.stop();
  expect(running.log()).toMatch(new RegExp(`"level":"warn".*"file":"roots.pem","msg":"${says}"`));
});
