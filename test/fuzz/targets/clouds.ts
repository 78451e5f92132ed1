/** What Azure signs, and what a cluster answers. */
import { readSignedData } from '@chancery/ca/attestors/azure/cms.ts';
import { readDocument } from '@chancery/ca/attestors/azure/document.ts';
import { type Machine, readMachine, readResourceId } from '@chancery/ca/attestors/azure/resource.ts';
import { verifyContent } from '@chancery/ca/attestors/azure/signer.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { NOW } from '../../kit/certificates.ts';
import { attestPod, startKubernetesWorld } from '../../kit/kubernetes/world.ts';
import { law, type Target } from '../engine.ts';
import { recorded } from '../recorded.ts';
import { attestorDeps } from './world.ts';

const cms: Target = {
  name: 'cms',
  says: 'CMS as Azure signs it, and who signed',
  shape: 'der',
  maxBytes: 32 * 1024,
  open: () => {
    const trust = {
      anchors: [parseCertificate(recorded('documentRoot'))],
      intermediates: [],
      host: 'metadata.azure.com',
    };
    const genuine = recorded('documentContent');
    return {
      seeds: [recorded('document'), recorded('documentWithAttributes')],
      run: (input) => {
        const content = verifyContent(readSignedData(input), trust, NOW);
        law(Buffer.compare(content, genuine) === 0, 'another content is believed than was signed');
        return undefined;
      },
    };
  },
};

const two = (value: number): string => String(value).padStart(2, '0');
const asAzureWrites = (time: Date): string => {
  const [date = '', clock = ''] = time.toISOString().split('T');
  const [year = '', month = '', day = ''] = date.split('-');
  return `${month}/${day}/${two(Number(year) % 100)} ${clock.slice(0, 8)} -0000`;
};

const document: Target = {
  name: 'azure-document',
  says: 'what an attested document says',
  shape: 'json',
  open: () => ({
    seeds: [recorded('documentContent')],
    run: (input) => {
      const { createdAt, expiresAt, vmId, subscription, nonce } = readDocument(input);
      const { timeStamp, ...said } = JSON.parse(Buffer.from(input).toString('utf8'));
      const times = [asAzureWrites(createdAt), asAzureWrites(expiresAt)].join();
      law(times === [timeStamp.createdOn, timeStamp.expiresOn].join(), 'a time is read as another');
      const names = [said.vmId.toLowerCase(), said.subscriptionId.toLowerCase(), said.nonce].join();
      law(names === [vmId, subscription, nonce].join(), 'a name is read as another');
      return undefined;
    },
  }),
};

const machine = {
  subscription: '0b1f6471-1bf0-4dda-aec3-cb9272f09590',
  resourceGroup: 'agents',
  name: 'billing-0',
};
const machineId = ({ subscription, resourceGroup, name, kind }: Machine): string =>
  `/subscriptions/${subscription}/resourcegroups/${resourceGroup}` +
  `/providers/microsoft.compute/${kind.toLowerCase()}/${name}`;

const resource: Target = {
  name: 'azure-resource',
  says: 'names of Azure resources',
  shape: 'json',
  maxBytes: 4096,
  open: () => ({
    seeds: [
      utf8(machineId({ ...machine, kind: 'virtualMachines' })),
      utf8(machineId({ ...machine, kind: 'virtualMachineScaleSets' })),
    ],
    run: (input) => {
      const text = Buffer.from(input).toString('latin1');
      const written = machineId(readMachine(readResourceId(text)));
      law(written === text.toLowerCase(), 'a machine is read as another');
      return undefined;
    },
  }),
};

/** With the official client between, over loopback: some hundred a second. */
const tokenReview: Target = {
  name: 'token-review',
  says: "a cluster's answers about a token",
  shape: 'json',
  maxBytes: 32 * 1024,
  open: async () => {
    const world = await startKubernetesWorld();
    const attestor = await world.attestor(
      {
        review: { kubeconfig: 'kubeconfig', timeout: '5s', podCheck: false },
      },
      'kubernetes/eu-1',
      attestorDeps(NOW).memory,
    );
    const token = world.server.cluster.tokenFor(world.pod, ['chancery://test.example']);
    const genuine: object[] = [];
    const reviews = /tokenreviews$/;
    world.server.spoil(reviews, {
      kind: 'changed',
      change: (body) => genuine[genuine.push(body) - 1] ?? body,
    });
    await attestPod(world, attestor, { token });
    return {
      seeds: genuine.map((body) => utf8(JSON.stringify(body))),
      run: async (input) => {
        world.server.spoil(reviews, { kind: 'body', text: Buffer.from(input).toString('utf8') });
        await attestPod(world, attestor, { token });
        return undefined;
      },
      close: () => world.close(),
    };
  },
};

export const CLOUDS: readonly Target[] = [cms, document, resource, tokenReview];
