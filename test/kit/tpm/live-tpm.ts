/** One whole TPM attestation in process: the agent's evidence source against the CA's attestor. */
import { readFileSync } from 'node:fs';
import type { EvidenceSource, Exchange } from '@chancery/agent/evidence/evidence.ts';
import { type TpmEvidenceConfig, tpmEvidence } from '@chancery/agent/evidence/tpm.ts';
import type { Attestor, Facts, NodeMemory } from '@chancery/ca/attestors/attestor.ts';
import { TpmConfig } from '@chancery/ca/attestors/tpm/config.ts';
import { tpmAttestor } from '@chancery/ca/attestors/tpm.ts';
import type { TpmOpening } from '@chancery/shared/evidence/tpm.ts';
import { packOpening, unpackOpening } from '@chancery/shared/evidence/tpm.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import type { SoftwareTpm } from './swtpm.ts';
import { bindingOf, memoryOf } from './tpm-attestor.ts';

export function sourceOf(tpm: SoftwareTpm, config: Partial<TpmEvidenceConfig> = {}): EvidenceSource {
  return tpmEvidence({ device: tpm.device, key: 'memory', ...config });
}

export function attestorOf(tpm: SoftwareTpm, config: object = {}, memory: NodeMemory = memoryOf()): Attestor {
  const parsed = TpmConfig.parse({ roots: tpm.roots, intermediates: tpm.intermediates, ...config });
  return tpmAttestor(parsed, { memory, readFile: (path) => readFileSync(path), log: silentLog });
}

/** What a hostile agent does between the TPM and the wire. */
export interface Interference {
  readonly opening?: (opening: TpmOpening) => TpmOpening;
  readonly answer?: (question: Uint8Array, binding: Uint8Array, genuine: Exchange) => Promise<Uint8Array>;
}

/** A new key, an exchange, the facts; the device is free again afterwards. */
export async function attestLive(
  source: EvidenceSource,
  attestor: Attestor,
  { opening = (same) => same, answer }: Interference = {},
): Promise<Facts> {
  const signer = (await source.createKey?.()) ?? signerOf(generateKey());
  const key = verifyCsr(await writeCsr(signer));
  const exchange = await source.begin(key.spki, new AbortController().signal);
  const binding = bindingOf(key.spki);
  const challenge = (question: Uint8Array): Promise<Uint8Array> =>
    answer === undefined ? exchange.answer(question, binding) : answer(question, binding, exchange);
  try {
    const said = packOpening(opening(unpackOpening(exchange.opening)));
    return await attestor.attest(said, { now: () => new Date(), key, binding, peer: undefined, challenge });
  } finally {
    await exchange.end();
  }
}
