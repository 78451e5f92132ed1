/**
 * A TPM of node:crypto keys that says whatever a test tells it to. Forging needs no real TPM: an attacker has none
 * either. What real ones do is tested with swtpm.
 */
import {
  createDecipheriv,
  createECDH,
  createHmac,
  type ECDH,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
} from 'node:crypto';
import {
  packAnswer,
  packOpening,
  type Statement,
  type TpmAnswer,
  type TpmOpening,
  unpackQuestion,
} from '@chancery/shared/evidence/tpm.ts';
import { asBuffer, concat, Reader, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { signerOf } from '@chancery/shared/keys/key.ts';
import { kdfA, kdfE } from '@chancery/shared/tpm/kdf.ts';
import { nameOf, readPublicArea } from '@chancery/shared/tpm/public-area.ts';
import { qualifiedNameOf } from '@chancery/shared/tpm/statements.ts';
import { AK, EK_P256, type Template, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import { type ProvenKey, verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { type Manufacturer, makeManufacturer } from './manufacturer.ts';

export const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);
const NOTHING = new Uint8Array();

/** A P-256 key and its TPMT_PUBLIC under a template. */
export interface AreaKey {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
  readonly area: Uint8Array;
  readonly name: Uint8Array;
}

export function makeAreaKey(template: Template = AK): AreaKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const area = areaOf(template, spki.subarray(-64));
  return { privateKey, spki, area, name: nameOf(readPublicArea(area, template, 'internal')) };
}

/** `point`: x and y joined. */
export function areaOf(template: Template, point: Uint8Array): Uint8Array {
  const half = point.length / 2;
  return concat(template.prefix, sized(point.subarray(0, half)), sized(point.subarray(half)));
}

/** TPMS_ATTEST, each field as a test likes it. */
export interface Forged {
  readonly magic: number;
  readonly type: number;
  readonly signer: Uint8Array;
  readonly extraData: Uint8Array;
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly safe: number;
  /** What comes after the firmware version. */
  readonly attested: Uint8Array;
}

export function writeAttest(forged: Forged): Uint8Array {
  const clock = Buffer.alloc(8);
  clock.writeBigUInt64BE(forged.clock);
  const counters = concat(clock, u32(forged.resetCount), u32(forged.restartCount), u8(forged.safe));
  const head = concat(u32(forged.magic), u16(forged.type), sized(forged.signer), sized(forged.extraData));
  return concat(head, counters, new Uint8Array(8), forged.attested);
}

/** TPMT_SIGNATURE, ECDSA with SHA-256. */
export function signAttest(attest: Uint8Array, key: KeyObject): Uint8Array {
  const scalars = sign('sha256', attest, { key, dsaEncoding: 'ieee-p1363' });
  return concat(u16(0x18), u16(0x0b), sized(scalars.subarray(0, 32)), sized(scalars.subarray(32)));
}

/** What a test changes on the way; each gets the genuine one. */
export interface Spoil {
  readonly opening?: (opening: TpmOpening) => TpmOpening;
  readonly quote?: (forged: Forged) => Forged;
  readonly certify?: (forged: Forged) => Forged;
  readonly answer?: (answer: TpmAnswer) => TpmAnswer;
  /** What its registers hold, by index. */
  readonly pcrs?: readonly Uint8Array[];
}

export interface FakeTpm {
  readonly manufacturer: Manufacturer;
  readonly ekArea: Uint8Array;
  readonly ekSpki: Uint8Array;
  readonly ak: AreaKey;
  /** The key to be certified, living "in the TPM". */
  readonly key: AreaKey;
  readonly proven: ProvenKey;
  /** `withKey`: the certified key is said to live in the TPM. */
  opening(withKey: boolean, spoil: Spoil): Uint8Array;
  answer(question: Uint8Array, binding: Uint8Array, withKey: boolean, spoil: Spoil): Uint8Array;
  activate(question: Uint8Array, akName: Uint8Array): Uint8Array | undefined;
}

export const PCR_VALUES: readonly Uint8Array[] = Array.from({ length: 24 }, (_, i) =>
  new Uint8Array(32).fill(i),
);

export async function makeFakeTpm(ecdh: ECDH = newEcdh()): Promise<FakeTpm> {
  const manufacturer = makeManufacturer();
  const point = ecdh.getPublicKey().subarray(1);
  const ekArea = areaOf(EK_P256, point);
  const ekSpki = concat(P256_HEAD, point);
  const ekCertificate = manufacturer.certify(ekSpki);
  const ak = makeAreaKey(AK);
  const key = makeAreaKey(TPM_KEY);
  const proven = verifyCsr(await writeCsr(signerOf(key.privateKey)));
  const activate = (question: Uint8Array, akName: Uint8Array) => openCredential(ecdh, question, akName);
  return {
    manufacturer,
    ekArea,
    ekSpki,
    ak,
    key,
    proven,
    activate,
    opening(withKey, { opening = (same) => same }) {
      const keyPublic = withKey ? key.area : NOTHING;
      return packOpening(
        opening({
          ekCertificate,
          ekPublic: ekArea,
          akPublic: ak.area,
          keyPublic,
          eventLog: NOTHING,
          ekChain: NOTHING,
        }),
      );
    },
    answer(question, binding, withKey, spoil) {
      const { quote = (same) => same, certify = (same) => same, answer = (same) => same } = spoil;
      const { selection } = unpackQuestion(question);
      const secret = activate(question, ak.name) ?? NOTHING;
      const speak = (forged: Forged): Statement => {
        const attest = writeAttest(forged);
        return { attest, signature: signAttest(attest, ak.privateKey) };
      };
      const head = {
        ...FORGED,
        signer: qualifiedNameOf(readPublicArea(ak.area, AK, 'internal')),
        extraData: binding,
      };
      const pcrValues = valuesOf(selection, spoil.pcrs ?? PCR_VALUES);
      const attested = concat(selection, sized(hash('sha256', pcrValues, 'buffer')));
      const certified = concat(sized(key.name), sized(key.name));
      return packAnswer(
        answer({
          proof: createHmac('sha256', secret).update(binding).digest(),
          quote: speak(quote({ ...head, attested })),
          pcrValues,
          certify: withKey
            ? speak(certify({ ...head, type: 0x8017, attested: certified }))
            : { attest: NOTHING, signature: NOTHING },
        }),
      );
    },
  };
}

const FORGED = { magic: 0xff544347, type: 0x8018, clock: 1000n, resetCount: 5, restartCount: 2, safe: 1 };

export const P256_HEAD = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');

function newEcdh(): ECDH {
  const ecdh = createECDH('prime256v1');
  ecdh.generateKeys();
  return ecdh;
}

/** An endorsement key whose x begins with a zero byte: one in 256. */
export function ecdhWithLeadingZero(): ECDH {
  for (;;) {
    const ecdh = newEcdh();
    if (ecdh.getPublicKey()[1] === 0) return ecdh;
  }
}

export function valuesOf(selection: Uint8Array, pcrs: readonly Uint8Array[]): Uint8Array {
  const bitmap = selection.subarray(7);
  return concat(...pcrs.filter((_, i) => ((bitmap[i >> 3] ?? 0) & (1 << (i & 7))) !== 0));
}

/** TPM2_ActivateCredential with a P-256 EK: undefined if the integrity does not hold for this name. */
function openCredential(ek: ECDH, question: Uint8Array, akName: Uint8Array): Uint8Array | undefined {
  const { credential, encryptedSeed } = unpackQuestion(question);
  const point = new Reader(encryptedSeed, 'internal');
  const x = point.sized16('x');
  const z = ek.computeSecret(concat(u8(4), x, point.sized16('y')));
  const ekX = ek.getPublicKey().subarray(1, 33);
  const hashName = 'sha256';
  const seed = kdfE(z, { hash: hashName, label: 'IDENTITY', u: x, v: ekX, bits: 256 });
  const blob = new Reader(credential, 'internal');
  const integrity = blob.sized16('integrity');
  const encrypted = blob.take(blob.left, 'encrypted secret');
  const integrityKey = kdfA(seed, { hash: hashName, label: 'INTEGRITY', u: NOTHING, v: NOTHING, bits: 256 });
  const expected = createHmac(hashName, integrityKey).update(encrypted).update(akName).digest();
  if (!expected.equals(asBuffer(integrity))) return undefined;
  const storageKey = kdfA(seed, { hash: hashName, label: 'STORAGE', u: akName, v: NOTHING, bits: 128 });
  const decipher = createDecipheriv('aes-128-cfb', storageKey, new Uint8Array(16));
  return concat(decipher.update(encrypted), decipher.final()).subarray(2);
}
