/** Real processes that prove two platforms in one exchange: a TPM, and peer credentials for the user. */

import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { failedRenewal, nextCertificate } from '../kit/observe/renewals.ts';
import { readStatus } from '../kit/observe/status.ts';
import {
  type AgentFolder,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../kit/tpm/swtpm.ts';

const TRUST_DOMAIN = 'several.example';
const PATIENCE = { timeout: 100_000, interval: 50 };
const uid = String(process.getuid?.());
const both = {
  kind: 'Identity',
  name: 'both',
  platforms: ['unix', 'tpm'],
  id: `spiffe://${TRUST_DOMAIN}/machine/{tpm.model}/user/{unix.uid}`,
  when: `unix.uid == '${uid}' && tpm.key == 'software'`,
  x509: { ttl: '20s' },
};
const alone = { kind: 'Identity', name: 'x-tpm', platform: 'tpm', id: `spiffe://${TRUST_DOMAIN}/tpm` };

let dir: string;
let tpm: SoftwareTpm;
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running;
beforeAll(async () => {
  dir = makeFolder();
  tpm = await makeSoftwareTpm();
  const { roots, intermediates } = tpm;
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, tpm: { roots, intermediates } } });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([both, alone]);
  agent = makeAgent(ca, 'agent', { evidence: { tpm: { device: tpm.device }, unix: {} } });
  running = await agent.run();
});
afterAll(async () => {
  await running.stop();
  await serving.stop();
  await tpm.stop();
  removeFolder(dir);
});

test('both pass, and the record names both', async () => {
  const { spiffeId, serial } = await readStatus(agent.socket);
  expect(spiffeId).toMatch(new RegExp(`^spiffe://${TRUST_DOMAIN}/machine/[^/]+/user/${uid}$`));
  const issued = JSON.parse((await ca.cli('issued', '--json')).stdout);
  const record = issued.find((each: { serial: string }) => each.serial === serial);
  expect(record).toMatchObject({
    platform: 'tpm+unix',
    node: expect.stringMatching(`^[0-9a-f]{64}\\+uid/${uid}$`),
  });
  expect(serving.log()).toMatch(/"platform":"tpm\+unix".*"tpm\.ek":".*"unix\.uid":"\d+".*"msg":"attested"/);
});

test('both are proven again at each renewal', async () => {
  const { serial } = await readStatus(agent.socket);
  const attested = () => serving.log().split('"msg":"attested"').length;
  const before = attested();
  await nextCertificate(agent.socket, serial);
  expect(attested()).toBeGreaterThan(before);
});

test('without their rule the next renewal is refused, and the CA’s log says why', async () => {
  await ca.apply([alone]);
  const { serial } = await failedRenewal(agent.socket, /no identity is given for this evidence/);
  await vi.waitFor(() => {
    expect(serving.log()).toMatch(
      /"code":"not_entitled","detail":"asked for [^"]*user[^"]*, earned [^"]*tpm"/,
    );
    expect(running.log()).toMatch(/no identity is given for this evidence/);
  }, PATIENCE);
  expect(await readStatus(agent.socket)).toMatchObject({ serial });
  await ca.apply([both, alone]);
  await nextCertificate(agent.socket, serial);
});

test('a TPM that is away stops nobody’s service, and when it is back the agent renews', async () => {
  await tpm.shutDown();
  const { serial } = await failedRenewal(agent.socket, /ENOENT|ECONNREFUSED|TPM/);
  await tpm.start();
  await nextCertificate(agent.socket, serial);
});

test('one of them alone does not earn what needs both', async () => {
  const one = makeAgent(ca, 'unix', { evidence: { unix: {} } });
  const out = ['--out', `${one.dir}/out`, '--timeout', '60s'];
  expect((await one.cli('issue', ...out)).stderr).toMatch(/PERMISSION_DENIED.*no identity/);
  expect(serving.log()).toMatch(/both is for platform unix and tpm, not unix/);
});

test('the TPM’s one place is taken, by whatever it is proven with', async () => {
  const copy = makeAgent(ca, 'copy', { evidence: { tpm: { device: tpm.device } } });
  const ran = await copy.cli('issue', '--out', `${copy.dir}/out`, '--timeout', '60s');
  expect(ran.stderr).toMatch(/ALREADY_EXISTS.*already connected/);
  expect(serving.log()).toMatch(/"code":"ek_in_use"/);
});
