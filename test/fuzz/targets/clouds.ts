/** What clouds and clusters answer: STS, ARNs, Azure's documents, a cluster's reviews. */
import { parsePrincipalArn } from '@chancery/ca/attestors/aws/arn.ts';
import { askSts } from '@chancery/ca/attestors/aws/sts.ts';
import { AwsIamConfig, awsIamAttestor } from '@chancery/ca/attestors/aws-iam.ts';
import { readSignedData } from '@chancery/ca/attestors/azure/cms.ts';
import { readDocument } from '@chancery/ca/attestors/azure/document.ts';
import { type Machine, readMachine, readResourceId } from '@chancery/ca/attestors/azure/resource.ts';
import { verifyContent } from '@chancery/ca/attestors/azure/signer.ts';
import { utf8 } from '@chancery/shared/bytes.ts';
import { packStsAnswer } from '@chancery/shared/evidence/aws-iam.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { NOW } from '../../kit/certificates.ts';
import { attestPod, startKubernetesWorld } from '../../kit/kubernetes/world.ts';
import { law, type Target } from '../engine.ts';
import { recorded } from '../recorded.ts';
import { answering, attestorDeps, BINDING } from './world.ts';

const ROLE = 'arn:aws:sts::123456789012:assumed-role/web/i-0abc';
const identity = (Arn: string, UserId: string): Uint8Array =>
  utf8(
    JSON.stringify({
      GetCallerIdentityResponse: {
        GetCallerIdentityResult: { Account: '123456789012', Arn, UserId },
        ResponseMetadata: { RequestId: 'r' },
      },
    }),
  );
const call = {
  host: 'sts.eu-west-1.amazonaws.com',
  date: '20260601T120000Z',
  credential: 'ASIAIOSFODNN7EXAMPLE/20260601/eu-west-1/sts/aws4_request',
  sessionToken: 'token',
  binding: BINDING,
  signature: new Uint8Array(32),
};

const stsReply: Target = {
  name: 'sts-reply',
  says: "STS's answers",
  shape: 'json',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: [
      identity(ROLE, 'AROAIOSFODNN7EXAMPLE:i-0abc'),
      identity('arn:aws:iam::123456789012:user/ci/deploy', 'AIDAIOSFODNN7EXAMPLE'),
      identity('arn:aws:iam::123456789012:root', '123456789012'),
    ],
    run: async (input) => {
      const { arn, account, uniqueId } = await askSts(
        call,
        'https://sts',
        answering(() => input),
      );
      law(arn.includes(account) && uniqueId !== '', 'an identity without an account or without a name');
      return undefined;
    },
  }),
};

const stsRefusal: Target = {
  name: 'sts-refusal',
  says: "STS's refusals: never an identity",
  shape: 'json',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: [utf8('{"Error":{"Code":"ExpiredToken","Message":"m","Type":"Sender"},"RequestId":"r"}')],
    run: async (input) => {
      const said = await askSts(
        call,
        'https://sts',
        answering(() => input, { status: 403 }),
      ).then(
        () => 'an identity',
        (error: unknown) => error,
      );
      law(said instanceof Error, 'a refusal is read as an identity');
      if (said.message.startsWith('STS refused: ExpiredToken')) return undefined;
      throw said;
    },
  }),
};

const arn: Target = {
  name: 'arn',
  says: "principals' ARNs",
  shape: 'json',
  maxBytes: 4096,
  open: () => ({
    seeds: [
      ROLE,
      'arn:aws-cn:iam::123456789012:role/path/to/web',
      'arn:aws:sts::123456789012:federated-user/ci',
      'arn:aws:iam::123456789012:root',
    ].map(utf8),
    run: (input) => {
      const parsed = parsePrincipalArn(Buffer.from(input).toString('latin1'), 'arn_policy');
      const text = parsed.session === undefined ? parsed.arn : `${parsed.arn}/${parsed.session}`;
      return Buffer.from(text, 'latin1');
    },
  }),
};

const iam: Target = {
  name: 'aws-iam',
  says: "an agent's answer, up to the call of STS that is made of it",
  shape: 'fields',
  open: () => {
    const config = AwsIamConfig.parse({ accounts: ['123456789012'], regions: ['eu-west-1'] });
    const reply = identity(ROLE, 'AROAIOSFODNN7EXAMPLE:i-0abc');
    const asked: { headers: Readonly<Record<string, string>> }[] = [];
    const outbound = answering(({ headers = {} }) => {
      asked.push({ headers });
      return reply;
    });
    const attestor = awsIamAttestor(config, attestorDeps(NOW, outbound));
    const key = verifyCsr(recorded('csr'));
    return {
      seeds: [packStsAnswer({ ...call, region: 'eu-west-1' })],
      run: async (input) => {
        asked.length = 0;
        await attestor.attest(new Uint8Array(), {
          now: () => NOW,
          key,
          binding: BINDING,
          peer: undefined,
          challenge: async () => input,
        });
        for (const { headers } of asked)
          for (const value of Object.values(headers))
            law(/^[ -~]*$/.test(value), 'a header holds what no header may');
        return undefined;
      },
    };
  },
};

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

export const CLOUDS: readonly Target[] = [
  stsReply,
  stsRefusal,
  arn,
  iam,
  cms,
  document,
  resource,
  tokenReview,
];
