/** The TPM 2.0 commands (Part 3) that an attestation needs. Effects only: the CA checks the results. */
import { randomBytes } from 'node:crypto';
import { concat, Reader, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ALG, ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import type { Template } from '@chancery/shared/tpm/templates.ts';
import { responseCode, type TpmDevice } from './device.ts';

/** TPM_CC, Part 2, 6.5.2. */
const COMMAND = {
  CreatePrimary: 0x131,
  ActivateCredential: 0x147,
  Certify: 0x148,
  NV_Read: 0x14e,
  PolicySecret: 0x151,
  Create: 0x153,
  Load: 0x157,
  Quote: 0x158,
  Sign: 0x15d,
  FlushContext: 0x165,
  NV_ReadPublic: 0x169,
  ReadPublic: 0x173,
  StartAuthSession: 0x176,
  GetCapability: 0x17a,
  PCR_Read: 0x17e,
} as const;

const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;
/** TPM_RH_OWNER. */
const OWNER = 0x4000_0001;
/** TPMA_NV, Part 2, 13.4. */
const NV_AUTHREAD = 1 << 18;
const NV_WRITTEN = 1 << 29;
/** TPM_RS_PW: an authorisation by password, here the empty one. */
const PASSWORD = 0x4000_0009;
const RH_NULL = 0x4000_0007;
const ST_HASHCHECK = 0x8024;
const SE_POLICY = 1;
const CAP_HANDLES = 1;
/** Transient objects and loaded sessions: what takes up slots. */
const SLOTS: readonly number[] = [0x8000_0000, 0x0200_0000];
/** Part 2, 6.6.3. */
const RC_LOCKOUT = 0x921;

const NOTHING = new Uint8Array();
const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);
const NONE = sized(NOTHING);
/** TPM2B_SENSITIVE_CREATE with no password and no data. */
const NO_SENSITIVE = sized(concat(NONE, NONE));

interface TpmCall {
  readonly handles?: readonly number[];
  /** One session for each handle that wants authorisation. */
  readonly auth?: readonly number[];
  readonly parameters?: Uint8Array;
  /** Handles in the response. */
  readonly returns?: number;
}

interface Reply {
  readonly handle: number;
  readonly body: Reader;
}

export interface TpmObject {
  readonly handle: number;
  /** TPMT_PUBLIC. */
  readonly publicArea: Uint8Array;
}

/** An index of NV memory. */
export interface NvArea {
  readonly index: number;
  readonly size: number;
  readonly written: boolean;
  /** The handle whose authorisation reads it. */
  readonly reader: number;
}

/** A key as TPM2_Create gives it: only its parent can load it. */
export interface WrappedKey {
  readonly publicArea: Uint8Array;
  readonly privateArea: Uint8Array;
}

export interface SignedStatement {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * One method for each TPM2 command, over a device that the caller opens and closes. Handles are numbers that the
 * caller flushes. Every method throws tpm_device, with the command's name where the TPM refuses it.
 */
export class TpmCommands {
  readonly #device: TpmDevice;

  constructor(device: TpmDevice) {
    this.#device = device;
  }

  /**
   * TPM2_CreatePrimary under `hierarchy`, with an empty password. The caller flushes the handle. Throws
   * tpm_device.
   */
  async createPrimary(hierarchy: number, template: Template): Promise<TpmObject> {
    const parameters = concat(NO_SENSITIVE, inPublic(template), NONE, u32(0));
    const call = { handles: [hierarchy], auth: [PASSWORD], parameters, returns: 1 };
    const { handle, body } = await this.#run('CreatePrimary', call);
    return { handle, publicArea: body.sized16('public area') };
  }

  /** TPM2_Create: a key that only this TPM can load, under the key with handle `parent`. */
  async create(parent: number, template: Template): Promise<WrappedKey> {
    const parameters = concat(NO_SENSITIVE, inPublic(template), NONE, u32(0));
    const { body } = await this.#run('Create', { handles: [parent], auth: [PASSWORD], parameters });
    const privateArea = body.sized16('private area');
    return { privateArea, publicArea: body.sized16('public area') };
  }

  /** TPM2_Load under the key with handle `parent`. */
  async load(parent: number, key: WrappedKey): Promise<TpmObject> {
    const parameters = concat(sized(key.privateArea), sized(key.publicArea));
    const call = { handles: [parent], auth: [PASSWORD], parameters, returns: 1 };
    const { handle } = await this.#run('Load', call);
    return { handle, publicArea: key.publicArea };
  }

  /** TPM2_ReadPublic: the public area of a loaded or persistent object. */
  async readPublic(handle: number): Promise<TpmObject> {
    const { body } = await this.#run('ReadPublic', { handles: [handle] });
    return { handle, publicArea: body.sized16('public area') };
  }

  /** A policy session that satisfies PolicySecret of the endorsement hierarchy: the EK's PolicyA. */
  async endorsementSession(): Promise<number> {
    const parameters = concat(sized(randomBytes(16)), NONE, u8(SE_POLICY), u16(ALG.null), u16(ALG.sha256));
    const { handle } = await this.#run('StartAuthSession', {
      handles: [RH_NULL, RH_NULL],
      parameters,
      returns: 1,
    });
    const secret = concat(NONE, NONE, NONE, u32(0));
    await this.#run('PolicySecret', { handles: [ENDORSEMENT, handle], auth: [PASSWORD], parameters: secret });
    return handle;
  }

  /** `session`: how the EK is authorised; undefined for its empty password. Gives the secret. */
  async activateCredential(
    keys: { readonly ak: number; readonly ek: number; readonly session: number | undefined },
    credential: Uint8Array,
    encryptedSeed: Uint8Array,
  ): Promise<Uint8Array> {
    const auth = [PASSWORD, keys.session ?? PASSWORD];
    const parameters = concat(sized(credential), sized(encryptedSeed));
    const { body } = await this.#run('ActivateCredential', { handles: [keys.ak, keys.ek], auth, parameters });
    return body.sized16('secret');
  }

  /** TPM2_Certify: the key with handle `ak` signs the name of the key with handle `key`, and `data`. */
  async certify(key: number, ak: number, data: Uint8Array): Promise<SignedStatement> {
    const parameters = concat(sized(data), u16(ALG.null));
    const call = { handles: [key, ak], auth: [PASSWORD, PASSWORD], parameters };
    return statement((await this.#run('Certify', call)).body);
  }

  /** `selection`: TPML_PCR_SELECTION. */
  async quote(ak: number, data: Uint8Array, selection: Uint8Array): Promise<SignedStatement> {
    const parameters = concat(sized(data), u16(ALG.null), selection);
    return statement((await this.#run('Quote', { handles: [ak], auth: [PASSWORD], parameters })).body);
  }

  /** One call reads eight values at most; gives the selection that was read, and the values. */
  async pcrRead(selection: Uint8Array): Promise<Reader> {
    return (await this.#run('PCR_Read', { parameters: selection })).body;
  }

  /** TPM2_NV_ReadPublic. `reader` is the handle that authorises reads. */
  async nvPublic(index: number): Promise<NvArea> {
    const { body } = await this.#run('NV_ReadPublic', { handles: [index] });
    const area = new Reader(body.sized16('NV public area'), 'tpm_device');
    area.take(4 + 2, 'NV index and hash');
    const attributes = area.u32('NV attributes');
    area.sized16('NV policy');
    const size = area.u16('NV size');
    const reader = (attributes & NV_AUTHREAD) !== 0 ? index : OWNER;
    return { index, size, reader, written: (attributes & NV_WRITTEN) !== 0 };
  }

  /** Reads with the empty password of the index, or of the owner if the index does not allow its own. */
  async nvRead({ index, reader }: NvArea, length: number, offset: number): Promise<Uint8Array> {
    const call = {
      handles: [reader, index],
      auth: [PASSWORD],
      parameters: concat(u16(length), u16(offset)),
    };
    return (await this.#run('NV_Read', call)).body.sized16('NV data');
  }

  /** ECDSA with SHA-256; gives TPMT_SIGNATURE. */
  async sign(key: number, digest: Uint8Array): Promise<Uint8Array> {
    const ticket = concat(u16(ST_HASHCHECK), u32(RH_NULL), NONE);
    const parameters = concat(sized(digest), u16(ALG.null), ticket);
    const { body } = await this.#run('Sign', { handles: [key], auth: [PASSWORD], parameters });
    return cutSignature(body);
  }

  /** TPM2_FlushContext: frees the slot of a loaded object or session. */
  async flush(handle: number): Promise<void> {
    await this.#run('FlushContext', { parameters: u32(handle) });
  }

  /** Empties every slot: without a resource manager, what a killed client left behind fills the TPM. */
  async flushAll(): Promise<void> {
    for (const slot of SLOTS) for (const handle of await this.#handles(slot)) await this.flush(handle);
  }

  /** The defined indices from `first` to `last`, ascending; at most 254. */
  async nvIndices(first: number, last: number): Promise<readonly number[]> {
    return (await this.#handles(first)).filter((index) => index >= first && index <= last);
  }

  async #handles(first: number): Promise<readonly number[]> {
    const parameters = concat(u32(CAP_HANDLES), u32(first), u32(254));
    const { body } = await this.#run('GetCapability', { parameters });
    body.take(1 + 4, 'more data, capability');
    return Array.from({ length: body.u32('count of handles') }, () => body.u32('handle'));
  }

  async #run(name: keyof typeof COMMAND, call: TpmCall): Promise<Reply> {
    const response = await this.#device.transmit(encode(COMMAND[name], call));
    const code = responseCode(response);
    ensure(code !== RC_LOCKOUT, 'tpm_device', `TPM2_${name}: the TPM is locked out; ${LOCKOUT_HINT}`);
    ensure(code === 0, 'tpm_device', `TPM2_${name} failed with TPM_RC 0x${code.toString(16)}`);
    const body = new Reader(response, 'tpm_device');
    body.take(10, 'response header');
    const handle = call.returns === undefined ? 0 : body.u32('response handle');
    if (call.auth !== undefined) body.u32('parameter size');
    return { handle, body };
  }
}

const LOCKOUT_HINT = 'too many wrong authorisations; see tpm2_dictionarylockout(1)';

function encode(code: number, { handles = [], auth, parameters = NOTHING }: TpmCall): Uint8Array {
  const area = auth === undefined ? NOTHING : authorisations(auth);
  const body = concat(...handles.map(u32), area, parameters);
  return concat(u16(auth === undefined ? NO_SESSIONS : SESSIONS), u32(10 + body.length), u32(code), body);
}

/** Session handle, no nonce, no attributes (so a policy session ends with the command), no HMAC. */
function authorisations(sessions: readonly number[]): Uint8Array {
  const area = concat(...sessions.map((session) => concat(u32(session), NONE, u8(0), NONE)));
  return concat(u32(area.length), area);
}

const inPublic = ({ prefix, unique }: Template): Uint8Array => sized(concat(prefix, unique));

/** TPM2B_ATTEST, then TPMT_SIGNATURE up to the sessions. */
function statement(body: Reader): SignedStatement {
  const attest = body.sized16('statement');
  return { attest, signature: cutSignature(body) };
}

function cutSignature(body: Reader): Uint8Array {
  const start = body.offset;
  body.take(4, 'signature scheme');
  body.sized16('r');
  body.sized16('s');
  return body.bytes.subarray(start, body.offset);
}
