/** What a TPM says: statements, public areas, selections, event logs, endorsement certificates. */

import { readPem } from '@chancery/shared/der/pem.ts';
import { unpackFields } from '@chancery/shared/evidence/fields.ts';
import { concat, lp, Reader, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { readCertify, readQuote } from '@chancery/shared/tpm/attest.ts';
import { readEventLog } from '@chancery/shared/tpm/boot/event-log.ts';
import { cutSelection, writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { verifyEventLog } from '@chancery/shared/tpm/boot/replay.ts';
import { TCG_PROFILE, verifyEndorsement } from '@chancery/shared/tpm/endorsement.ts';
import {
  attributesOf,
  keyOf,
  nameOf,
  readPublicArea,
  spkiOf,
  startsWith,
} from '@chancery/shared/tpm/public-area.ts';
import { speakerOf, verifyCertify, verifyQuote } from '@chancery/shared/tpm/statements.ts';
import { AK, EK_P256, EK_P384, EK_RSA_2048, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { EV, event, startup, writeEventLog } from '../../kit/tpm/event-log.ts';
import { law, type Target } from '../engine.ts';
import { tpmVector } from '../recorded.ts';

const TEMPLATES = [AK, TPM_KEY, EK_RSA_2048, EK_P256, EK_P384];
const RECORDED_AT = new Date('2026-12-01T00:00:00Z');
const QUOTED = [0, 7];
const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);

function u64(value: bigint): Uint8Array {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(value);
  return out;
}

const attest: Target = {
  name: 'tpm-attest',
  says: 'TPMS_ATTEST of quotes and certifications',
  shape: 'bytes',
  open: () => ({
    seeds: ['good-quote', 'good-certify', 'wrong-quote-bank-twice', 'wrong-quote-empty-selection'].map(
      (file) => tpmVector(file).bytes('attest'),
    ),
    run: (input) => (input[5] === 0x17 ? rewrittenCertify(input) : rewrittenQuote(input)),
  }),
};

function rewrittenQuote(input: Uint8Array): Uint8Array {
  const { selection, pcrDigest, ...head } = readQuote(input);
  return concat(rewrittenHead(0x8018, head, input), selection, sized(pcrDigest));
}

/** The qualified name, which nobody reads, is copied. */
function rewrittenCertify(input: Uint8Array): Uint8Array {
  const { name, ...head } = readCertify(input);
  const before = concat(rewrittenHead(0x8017, head, input), sized(name));
  return concat(before, input.subarray(before.length));
}

/** So is the version of the firmware. */
function rewrittenHead(
  type: number,
  { qualifiedSigner, extraData, clock }: Omit<ReturnType<typeof readCertify>, 'name'>,
  input: Uint8Array,
): Uint8Array {
  const counters = concat(
    u64(clock.clock),
    u32(clock.resetCount),
    u32(clock.restartCount),
    u8(clock.safe ? 1 : 0),
  );
  const head = concat(u32(0xff544347), u16(type), sized(qualifiedSigner), sized(extraData), counters);
  return concat(head, input.subarray(head.length, head.length + 8));
}

const statement: Target = {
  name: 'tpm-statement',
  says: 'statements with their signatures and the PCRs, verified',
  shape: 'fields',
  open: () => {
    const [quote, certify] = [tpmVector('good-quote'), tpmVector('good-certify')];
    const speakers = [quote, certify].map((vector) =>
      speakerOf(readPublicArea(vector.bytes('ak'), AK, 'ak_template'), vector.bytes('binding')),
    );
    const key = readPublicArea(certify.bytes('key'), TPM_KEY, 'key_attributes');
    const packed = (vector: typeof quote, values: Uint8Array): Uint8Array =>
      concat(u8(1), ...[vector.bytes('attest'), vector.bytes('signature'), values].map(lp));
    const [ofQuote, ofCertify] = speakers;
    return {
      seeds: [packed(quote, quote.bytes('values')), packed(certify, new Uint8Array())],
      run: (input) => {
        const fields = ['attest', 'signature', 'values'].map((what) => ({
          what,
          maxBytes: 1024,
          code: 'evidence_parse' as const,
        }));
        const [said, signature, values] = unpackFields(input, fields);
        if (said === undefined || signature === undefined || values === undefined) return undefined;
        if (ofQuote === undefined || ofCertify === undefined) return undefined;
        const signed = { attest: said, signature };
        if (values.length === 0) verifyCertify(signed, key, ofCertify);
        else verifyQuote(signed, values, QUOTED, ofQuote);
        return undefined;
      },
    };
  },
};

const publicArea: Target = {
  name: 'tpm-public-area',
  says: 'TPMT_PUBLIC by our templates, its name and its key',
  shape: 'bytes',
  open: () => ({
    seeds: [
      tpmVector('good-quote').bytes('ak'),
      tpmVector('good-certify').bytes('key'),
      tpmVector('good-endorsement-rsa2048').bytes('area'),
      tpmVector('good-endorsement-p384').bytes('area'),
    ],
    run: (input) => {
      attributesOf(input);
      const template = TEMPLATES.find(({ prefix }) => startsWith(input, prefix)) ?? AK;
      const area = readPublicArea(input, template, 'ak_template');
      const { unique } = area;
      const parts = template.shape === 'rsa2048' ? 1 : 2;
      const size = unique.length / parts;
      const all = Array.from({ length: parts }, (_, at) =>
        sized(unique.subarray(at * size, (at + 1) * size)),
      );
      const written = concat(template.prefix, ...all);
      law(input.length <= written.length, 'a public area is longer than its key');
      law(
        nameOf(area).length === (template.nameAlg === 'sha384' ? 50 : 34),
        'a name is not as long as its hash',
      );
      const key = keyOf(area, 'ak_template');
      law((key.asymmetricKeyType === 'rsa') === (parts === 1), 'a key is of another kind than its template');
      // An RSA modulus that does not fill its bytes is nobody's: certificates of such keys are refused.
      const full = parts === 2 || (unique[0] ?? 0) >= 0x80;
      const same = key.export({ type: 'spki', format: 'der' }).equals(spkiOf(area));
      law(same || !full, 'a key is written another way');
      // Leading zeros of a coordinate may be cut off.
      return input.length === written.length ? written : undefined;
    },
  }),
};

const selection: Target = {
  name: 'tpm-selection',
  says: 'TPML_PCR_SELECTION',
  shape: 'bytes',
  open: () => ({
    seeds: [
      writeSelection([0, 7]),
      writeSelection([]),
      concat(u32(2), u16(4), u8(3), new Uint8Array(3), u16(11), u8(0)),
    ],
    run: (input) => {
      const reader = new Reader(input, 'attest_parse');
      const cut = cutSelection(reader);
      reader.done('selection');
      return cut;
    },
  }),
};

const EVENTS = [
  startup(3),
  event(0, 0x8, 'version'),
  event(4, EV.gpt, 'partitions'),
  event(7, EV.separator, '\0\0\0\0'),
  event(8, EV.ipl, 'a command line'),
];

const eventLog: Target = {
  name: 'tpm-event-log',
  says: 'event logs, read and replayed',
  shape: 'bytes',
  open: () => ({
    seeds: [writeEventLog(EVENTS), writeEventLog([]), writeEventLog([...EVENTS, ...EVENTS.slice(1)])],
    run: (input) => {
      verifyEventLog(readEventLog(input), new Map());
      return undefined;
    },
  }),
};

/** The area stays as it is; the certificate is the stranger's. */
const endorsement: Target = {
  name: 'tpm-endorsement',
  says: 'certificates of endorsement keys',
  shape: 'der',
  maxBytes: 8 * 1024,
  open: () => {
    const known = ['good-endorsement-rsa2048', 'good-endorsement-p384'].map((file, at) => {
      const vector = tpmVector(file);
      const read = (field: string) =>
        vector
          .pems(field)
          .flatMap((pem) => readPem(pem, 'CERTIFICATE', 'config'))
          .map(parseCertificate);
      const area = readPublicArea(vector.bytes('area'), at === 0 ? EK_RSA_2048 : EK_P384, 'ek_parse');
      return {
        seed: vector.bytes('certificate'),
        area,
        trust: { anchors: read('roots'), intermediates: read('intermediates'), profile: TCG_PROFILE },
      };
    });
    return {
      seeds: known.map(({ seed }) => seed),
      run: (input) => {
        const right = known.find(({ area }) => Buffer.from(input).includes(spkiOf(area))) ?? known[0];
        if (right === undefined) return undefined;
        const claimed = { certificate: input, chain: input, area: right.area };
        verifyEndorsement(claimed, right.trust, RECORDED_AT);
        return undefined;
      },
    };
  },
};

export const TPM: readonly Target[] = [attest, statement, publicArea, selection, eventLog, endorsement];
