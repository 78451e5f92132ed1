/**
 * TPM 2.0. Proves that the certified key was bound, just now, by an attestation key inside a TPM of a configured
 * manufacturer, with these PCR values; with a key in the TPM, also that it cannot leave. It does not prove where the
 * TPM is (a relay looks the same), nor that the bus between it and the processor was not tampered with.
 */
import { createHmac, randomBytes } from 'node:crypto';
import {
  packQuestion,
  type TpmAnswer,
  type TpmOpening,
  unpackAnswer,
  unpackOpening,
} from '@chancery/shared/evidence/tpm.ts';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ATTRIBUTE } from '@chancery/shared/tpm/algorithms.ts';
import { type LogEvent, readEventLog } from '@chancery/shared/tpm/boot/event-log.ts';
import { writeSelection } from '@chancery/shared/tpm/boot/pcr.ts';
import { verifyEventLog } from '@chancery/shared/tpm/boot/replay.ts';
import { makeCredential } from '@chancery/shared/tpm/credential.ts';
import {
  type ClaimedEndorsement,
  type Endorsement,
  verifyEndorsement,
} from '@chancery/shared/tpm/endorsement.ts';
import {
  attributesOf,
  nameOf,
  type PublicArea,
  readPublicArea,
  spkiOf,
  startsWith,
} from '@chancery/shared/tpm/public-area.ts';
import {
  type Speaker,
  speakerOf,
  type VerifiedQuote,
  verifyCertify,
  verifyQuote,
} from '@chancery/shared/tpm/statements.ts';
import { AK, EK_P256, EK_P384, EK_RSA_2048, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import type { Attestor, AttestorDeps, AttestorKind, Facts, Turn } from './attestor.ts';
import { advanceClock } from './tpm/clock.ts';
import { TpmConfig, type TpmPolicy, tpmPolicy } from './tpm/config.ts';

export const tpmKind: AttestorKind<TpmConfig> = {
  type: 'tpm',
  says: 'Machines with a TPM 2.0.',
  schema: TpmConfig,
  create: tpmAttestor,
};

const EK_TEMPLATES = [EK_RSA_2048, EK_P256, EK_P384];
const SECRET_BYTES = 32;

/** Reads the manufacturers' certificates at once. Throws config. */
export function tpmAttestor(
  config: TpmConfig,
  deps: Pick<AttestorDeps, 'memory' | 'readFile' | 'log'>,
): Attestor {
  const policy = tpmPolicy(config, deps);
  return {
    type: 'tpm',
    async attest(opening, turn) {
      const claim = readClaim(unpackOpening(opening), policy, turn);
      const endorsement = verifyEndorsement(claim.endorsement, policy.trust, turn.now());
      const secret = randomBytes(SECRET_BYTES);
      const credential = makeCredential(claim.endorsement.area, nameOf(claim.ak), secret);
      const selection = writeSelection(policy.selected);
      const answer = unpackAnswer(await turn.challenge(packQuestion({ ...credential, selection })));
      ensureActivated(answer, secret, turn.binding);
      const { pcrs, clock } = verifyAnswer(answer, claim, policy);
      await deps.memory.advance('tpm', endorsement.id, (previous) => advanceClock(previous, clock));
      return factsOf(endorsement, claim, pcrs);
    },
  };
}

/** What the agent claims, parsed and unverified. */
interface Claim {
  readonly endorsement: ClaimedEndorsement;
  readonly ak: PublicArea;
  readonly speaker: Speaker;
  /** Undefined for a key outside the TPM. */
  readonly key: PublicArea | undefined;
  readonly events: readonly LogEvent[] | undefined;
}

function readClaim(opening: TpmOpening, policy: TpmPolicy, turn: Turn): Claim {
  const ek = readEk(opening.ekPublic);
  const ak = readAk(opening.akPublic);
  const speaker = speakerOf(ak, turn.binding);
  const key = readKey(opening.keyPublic, turn);
  ensure(key !== undefined || policy.softwareKeys, 'key_attributes', 'keys must live in the TPM here');
  const { spki } = turn.key;
  ensure(!equal(spki, spkiOf(ak)), 'key_attributes', 'the key to be certified is the attestation key');
  ensure(!equal(spki, spkiOf(ek)), 'key_attributes', 'the key to be certified is the endorsement key');
  const events = opening.eventLog.length > 0 ? readEventLog(opening.eventLog) : undefined;
  ensure(events !== undefined || !policy.needsEventLog, 'eventlog', 'an event log is required here');
  const endorsement = { certificate: opening.ekCertificate, chain: opening.ekChain, area: ek };
  return { endorsement, ak, speaker, key, events };
}

function readEk(bytes: Uint8Array): PublicArea {
  const template = EK_TEMPLATES.find(({ prefix }) => startsWith(bytes, prefix));
  ensure(template !== undefined, 'ek_template', 'the EK does not match a known template');
  return readPublicArea(bytes, template, 'ek_parse');
}

/** The template includes both attributes; they have codes of their own because each is an attack of its own. */
function readAk(bytes: Uint8Array): PublicArea {
  const attributes = attributesOf(bytes);
  const restricted = (attributes & ATTRIBUTE.restricted) !== 0;
  ensure(restricted, 'ak_attributes', 'the AK is not restricted: it signs statements that no TPM made');
  const fixed = (attributes & ATTRIBUTE.fixedTpm) !== 0;
  ensure(fixed, 'ak_attributes', 'the AK is not fixed to a TPM: it may be a key from outside');
  return readPublicArea(bytes, AK, 'ak_template');
}

function readKey(bytes: Uint8Array, { key }: Turn): PublicArea | undefined {
  if (bytes.length === 0) return undefined;
  const area = readPublicArea(bytes, TPM_KEY, 'key_attributes');
  ensure(
    equal(spkiOf(area), key.spki),
    'key_binding',
    "the TPM's key is not the key of the certificate request",
  );
  return area;
}

/** The HMAC proves knowledge of the secret for this exchange only, without revealing it. */
function ensureActivated({ proof }: TpmAnswer, secret: Uint8Array, binding: Uint8Array): void {
  const expected = createHmac('sha256', secret).update(binding).digest();
  ensure(
    equal(proof, expected),
    'activation_failed',
    'the credential was not opened: EK and AK share no TPM',
  );
}

function verifyAnswer(answer: TpmAnswer, claim: Claim, policy: TpmPolicy): VerifiedQuote {
  const { speaker } = claim;
  const quote = verifyQuote(answer.quote, answer.pcrValues, policy.selected, speaker);
  if (claim.key !== undefined) verifyCertify(answer.certify, claim.key, speaker);
  if (claim.events !== undefined) verifyEventLog(claim.events, quote.pcrs);
  for (const [index, allowed] of policy.allowed) {
    const value = hex(quote.pcrs.get(index) ?? new Uint8Array());
    ensure(allowed.has(value), 'pcr_policy', `PCR ${index} is ${value}, which is not allowed`);
  }
  return quote;
}

function factsOf(
  { id, attributes }: Endorsement,
  claim: Claim,
  pcrs: ReadonlyMap<number, Uint8Array>,
): Facts {
  const values = [...pcrs].map(([index, value]) => [`pcr${index}`, hex(value)]);
  return {
    node: id,
    attributes: {
      ek: id,
      ...attributes,
      key: claim.key === undefined ? 'software' : 'tpm',
      ...Object.fromEntries(values),
    },
    exclusive: true,
  };
}
