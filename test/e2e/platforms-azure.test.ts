/**
 * Real processes on a VM of an Azure that is not there: a CA that reads the tenant's tokens and the VM's attested
 * documents, and an agent that has both from the metadata service.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Entra, startEntra } from '../kit/azure/entra.ts';
import { type Imds, startAzureImds, type Vm } from '../kit/azure/imds.ts';
import { type DocumentSigners, makeDocumentSigners } from '../kit/azure/signers.ts';
import { letsIn, makeVm, SUBSCRIPTION } from '../kit/azure/world.ts';
import { failedRenewal, nextCertificate } from '../kit/observe/renewals.ts';
import { readStatus } from '../kit/observe/status.ts';
import { textsIn } from '../kit/observe/texts.ts';
import {
  type AgentFolder,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'azure.example';
const AUDIENCE = `https://${TRUST_DOMAIN}/chancery`;
const ID = `spiffe://${TRUST_DOMAIN}/agents/billing-0`;
const PATIENCE = { timeout: 100_000, interval: 50 };
const identity = {
  kind: 'Identity',
  name: 'billing',
  platform: 'azure',
  when: "resourceGroup == 'agents' && vmName.startsWith('billing-')",
  id: `spiffe://${TRUST_DOMAIN}/{resourceGroup}/{vmName}`,
  x509: { ttl: '20s' },
};
const other = { ...identity, name: 'other', when: "vmName == 'other'" };
const now = () => new Date();

let dir: string;
let entra: Entra;
let signers: DocumentSigners;
let vm: Vm;
let imds: Imds;
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running;
beforeAll(async () => {
  dir = makeFolder();
  entra = await startEntra(now);
  signers = makeDocumentSigners(now());
  vm = makeVm('billing-0');
  imds = await startAzureImds({ vm, entra, signers, now, applications: [AUDIENCE] });
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { azure: letsIn(entra) } });
  writeFileSync(join(dir, 'root.pem'), signers.rootPem);
  writeFileSync(join(dir, 'issuing.pem'), signers.issuingPem);
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([identity]);
  agent = makeAgent(ca, 'billing-0', { evidence: { azure: { endpoint: imds.url } } });
  running = await agent.run();
});
afterAll(async () => {
  await running.stop();
  await serving.stop();
  await imds.close();
  await entra.close();
  removeFolder(dir);
});

const serial = async (): Promise<string> => (await readStatus(agent.socket)).serial;

const documentsAsked = (): string[] =>
  imds.received.flatMap(({ target }) => /attested.*nonce=(\d+)/.exec(target)?.[1] ?? []);

test('the VM joins, as its name in its resource group', async () => {
  expect((await readStatus(agent.socket)).spiffeId).toBe(ID);
  expect(serving.log()).toMatch(new RegExp(`"node":"${vm.vmId}".*"azure.subscription":"${SUBSCRIPTION}"`));
});

test('it renews with a document that was not used before; the keys of the tenant are kept', async () => {
  await nextCertificate(agent.socket, await serial());
  const nonces = documentsAsked();
  expect(nonces.length).toBeGreaterThanOrEqual(2);
  expect(new Set(nonces).size).toBe(nonces.length);
  expect(entra.served.received.length).toBe(1);
});

test('without its rule it is refused at the next renewal, and the log says why', async () => {
  await ca.apply([other]);
  const { serial: before } = await failedRenewal(agent.socket, /no identity is given for this evidence/);
  await vi.waitFor(() => {
    expect(serving.log()).toMatch(/"code":"no(t_entitled|_identity)","detail":"[^"]*(other|billing)/);
    expect(running.log()).toMatch(/no identity is given for this evidence/);
  }, PATIENCE);
  expect(await serial()).toBe(before);
  await ca.apply([identity]);
  await nextCertificate(agent.socket, before);
});

test('a metadata service that is away stops nobody’s service, and when it is back the agent renews', async () => {
  imds.spoil(() => ({ status: 500 }));
  const { serial: before } = await failedRenewal(agent.socket, /metadata\/attested\/document answered 500/);
  const failures = imds.received.length;
  await vi.waitFor(() => expect(imds.received.length).toBeGreaterThan(failures), PATIENCE);
  expect(imds.received.length, 'it asks now and then, not all the time').toBeLessThan(failures + 3);
  imds.spoil(undefined);
  await nextCertificate(agent.socket, before);
});

test('a VM that shows another VM’s token is refused, keeps its own certificate, and the log names both', async () => {
  const thief = makeVm('billing-9');
  const its = await startAzureImds({ vm: thief, entra, signers, now, applications: [AUDIENCE] });
  const second = makeAgent(ca, 'billing-9', { evidence: { azure: { endpoint: its.url } } });
  const another = await second.run();
  const [stolen] = vm.identities;
  if (stolen === undefined) throw new Error('no identity');
  const token = { status: 200, body: JSON.stringify({ access_token: entra.token(stolen, AUDIENCE) }) };
  its.spoil((answer, { target }) => (target.includes('oauth2') ? token : answer));
  const says = `/billing-0 came with vmId ${vm.vmId} first, and now with ${thief.vmId}`;
  await vi.waitFor(
    () => expect(serving.log()).toMatch(new RegExp(`"code":"azure_vm","detail":"[^"]*${says}`)),
    PATIENCE,
  );
  expect((await readStatus(second.socket)).spiffeId).toBe(`spiffe://${TRUST_DOMAIN}/agents/billing-9`);
  await another.stop();
  await its.close();
});

test('C44 no token and no document is in a log or a file, the audit log’s among them', () => {
  const folders = [join(dir, 'data'), join(agent.dir, 'data')];
  const texts = textsIn(folders);
  expect(texts.join(''), 'the audit log is in the database').toMatch(/node\.attested/);
  const everything = [...texts, serving.log(), running.log()].join('\n');
  expect(everything).not.toMatch(/eyJ[\w-]{20,}\.eyJ[\w-]{20,}/);
  const { leaf } = signers;
  const certificate = Buffer.from(leaf.certificate.der);
  expect(everything.includes(certificate.toString('base64').slice(40, 120))).toBe(false);
  expect(everything.includes(certificate.toString('latin1'))).toBe(false);
});
