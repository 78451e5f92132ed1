/** What AWS answers, and what an agent signs for it. */
import { parsePrincipalArn } from '@chancery/ca/attestors/aws/arn.ts';
import { AwsIamConfig, awsIamAttestor } from '@chancery/ca/attestors/aws/iam.ts';
import { OrganizationConfig, organizationsOf } from '@chancery/ca/attestors/aws/organizations.ts';
import { askSts } from '@chancery/ca/attestors/aws/sts.ts';
import { parseXml } from '@chancery/ca/attestors/aws/sts-xml.ts';
import { packStsAnswer } from '@chancery/shared/evidence/aws-iam.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { NOW } from '../../kit/certificates.ts';
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

const xml = (Arn: string): Uint8Array =>
  utf8(
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
      '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n' +
      `  <GetCallerIdentityResult><Arn>${Arn}</Arn><UserId>AROAIOSFODNN7EXAMPLE:i&amp;0</UserId>` +
      '<Account>123456789012</Account></GetCallerIdentityResult>\n' +
      '  <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\n</GetCallerIdentityResponse>',
  );

const stsXml: Target = {
  name: 'sts-xml',
  says: "the XML of STS's older endpoints",
  shape: 'bytes',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: [xml(ROLE), utf8('<Response><A/></Response>')],
    run: (input) => {
      const read = parseXml(Buffer.from(input).toString('utf8'), 'platform_unavailable');
      law(Object.keys(read).length === 1, 'a document with two roots');
      return undefined;
    },
  }),
};

const OWN = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const MEMBER = {
  Account: { Arn: 'arn:aws:organizations::123456789012:account/o-abc1234567/123456789012', State: 'ACTIVE' },
  // A unit for a root, so that one answer is enough.
  Parents: [{ Id: 'ou-ab12-11111111', Type: 'ROOT' }],
};

/** One text answers both questions. The refusal is the same whatever went wrong, and its cause is not. */
const organization: Target = {
  name: 'aws-organizations',
  says: "Organizations' answers about an account",
  shape: 'json',
  open: () => {
    const before = { ...process.env };
    Object.assign(process.env, OWN);
    const config = OrganizationConfig.parse({ id: 'o-abc1234567', units: ['ou-ab12-11111111'] });
    let input = new Uint8Array();
    const organizations = organizationsOf(
      config,
      attestorDeps(
        NOW,
        answering(() => input),
      ),
    );
    return {
      seeds: [utf8(JSON.stringify(MEMBER))],
      run: async (body) => {
        input = Uint8Array.from(body);
        await organizations.pathOf('123456789012', NOW).catch((error: unknown) => {
          const hidden = isRefusal(error) && error.message.startsWith('Organizations could not be asked');
          throw hidden ? error.cause : error;
        });
        return undefined;
      },
      close: () => {
        for (const name of Object.keys(OWN)) delete process.env[name];
        Object.assign(process.env, before);
      },
    };
  },
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

export const AWS: readonly Target[] = [stsReply, stsRefusal, stsXml, organization, arn, iam];
