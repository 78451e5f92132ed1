/** Packed evidence: what unpacks is packed again to the same bytes. */

import {
  packStsAnswer,
  packStsQuestion,
  unpackStsAnswer,
  unpackStsQuestion,
} from '@chancery/shared/evidence/aws-iam.ts';
import { packAzureAnswer, unpackAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { joinNodes, nodesOf } from '@chancery/shared/evidence/node.ts';
import { packPieces, unpackPieces } from '@chancery/shared/evidence/pieces.ts';
import { joinPlatforms, splitPlatforms } from '@chancery/shared/evidence/platform.ts';
import * as tpm from '@chancery/shared/evidence/tpm.ts';
import { concat, lp, u8, utf8 } from '@chancery/shared/ground/bytes.ts';
import { law, type Target } from '../engine.ts';
import { recorded, tpmVector } from '../recorded.ts';

interface Codec<T> {
  readonly name: string;
  readonly says: string;
  readonly genuine: () => readonly T[];
  readonly pack: (value: T) => Uint8Array;
  readonly unpack: (bytes: Uint8Array) => T;
}

const packed = <T>({ name, says, genuine, pack, unpack }: Codec<T>): Target => ({
  name,
  says,
  shape: 'fields',
  open: () => ({ seeds: genuine().map(pack), run: (input) => pack(unpack(input)) }),
});

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7);
/** As STS answers and as the agent packs; other characters than latin1 never come out of the reader. */
const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const PLATFORMS = ['aws-iam', 'kubernetes/eu-1', 'tpm'];

const opening = packed({
  name: 'evidence-tpm-opening',
  says: 'what an agent with a TPM says first',
  genuine: () => {
    const ek = tpmVector('good-endorsement-rsa2048');
    const akPublic = tpmVector('good-quote').bytes('ak');
    const keyPublic = tpmVector('good-certify').bytes('key');
    const whole = {
      ekCertificate: ek.bytes('certificate'),
      ekPublic: ek.bytes('area'),
      akPublic,
      keyPublic,
      eventLog: bytes(0),
      ekChain: bytes(0),
    };
    return [whole, { ...whole, keyPublic: bytes(0), eventLog: bytes(500), ekChain: bytes(900) }];
  },
  pack: tpm.packOpening,
  unpack: tpm.unpackOpening,
});

const question = packed({
  name: 'evidence-tpm-question',
  says: 'what the CA asks of a TPM',
  genuine: () => [{ credential: bytes(68), encryptedSeed: bytes(256), selection: bytes(10) }],
  pack: tpm.packQuestion,
  unpack: tpm.unpackQuestion,
});

const answer = packed({
  name: 'evidence-tpm-answer',
  says: 'what a TPM answers',
  genuine: () => {
    const quote = tpmVector('good-quote');
    const signed = { attest: quote.bytes('attest'), signature: quote.bytes('signature') };
    return [
      {
        proof: bytes(32),
        quote: signed,
        pcrValues: quote.bytes('values'),
        certify: { attest: bytes(0), signature: bytes(0) },
      },
    ];
  },
  pack: tpm.packAnswer,
  unpack: tpm.unpackAnswer,
});

const stsAnswer: Target = {
  name: 'evidence-aws-iam',
  says: 'a signed GetCallerIdentity',
  shape: 'fields',
  open: () => {
    const date = '20260601T120000Z';
    const credential = 'ASIAIOSFODNN7EXAMPLE/20260601/eu-west-1/sts/aws4_request';
    return {
      seeds: [
        packStsAnswer({
          region: 'eu-west-1',
          date,
          credential,
          sessionToken: 'FwoGZXIvYXdz',
          signature: bytes(32),
        }),
      ],
      // The packer writes UTF-8 and the reader takes bytes one by one: they meet in ASCII, as all of AWS's is.
      run: (input) => {
        const { signature, ...texts } = unpackStsAnswer(input);
        const { region, date, credential, sessionToken } = texts;
        return concat(u8(1), ...[region, date, credential, sessionToken].map(latin1).map(lp), lp(signature));
      },
    };
  },
};

const stsQuestion: Target = {
  name: 'evidence-aws-question',
  says: 'which endpoint an agent signs for',
  shape: 'fields',
  open: () => ({
    seeds: ['standard', 'fips-dual-stack'].map(packStsQuestion),
    run: (input) => concat(u8(1), lp(latin1(unpackStsQuestion(input)))),
  }),
};

const azure = packed({
  name: 'evidence-azure',
  says: 'a token and an attested document',
  genuine: () => [{ token: bytes(1200), document: recorded('document') }],
  pack: packAzureAnswer,
  unpack: unpackAzureAnswer,
});

const several = packed({
  name: 'evidence-several',
  says: 'what several platforms say at once',
  genuine: () => [
    [bytes(4), undefined, bytes(0)],
    [undefined, bytes(100), bytes(300)],
  ],
  pack: packPieces,
  unpack: (input) => unpackPieces(input, PLATFORMS),
});

const platforms: Target = {
  name: 'platforms',
  says: 'names of platforms, and the nodes behind joined ones',
  shape: 'json',
  open: () => ({
    seeds: [utf8('tpm'), utf8('aws-iam+kubernetes/eu-1+tpm'), utf8('gcp+oidc/github.com')],
    run: (input) => {
      const text = Buffer.from(input).toString('latin1');
      const names = splitPlatforms(text);
      const nodes = names.map((name) => `${name}%2B+%25/node`);
      const joined = { platform: joinPlatforms(names), node: joinNodes(nodes) };
      law(
        JSON.stringify(nodesOf(joined).map(({ node }) => node)) === JSON.stringify(nodes),
        'joined nodes are split another way',
      );
      return latin1(names.join('+'));
    },
  }),
};

export const EVIDENCE: readonly Target[] = [
  opening,
  question,
  answer,
  stsAnswer,
  stsQuestion,
  azure,
  several,
  platforms,
];
