/** One recorded exchange: what an agent said, what the platform answered the CA, and what came of it. */
import type { AttestorDeps, Turn } from '@chancery/ca/attestors/attestor.ts';
import { AttestorsConfig, attestorNamed, attestorsFrom } from '@chancery/ca/attestors/index.ts';
import { type Proven, prove } from '@chancery/ca/attestors/prove.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { z } from 'zod';

/** Bytes are base64; paths and addresses are as the config has them. */
export const EvidenceVector = z.strictObject({
  platform: z.string(),
  trustDomain: z.string(),
  /** Of the CA: its `attestors`. */
  config: z.record(z.string(), z.unknown()),
  files: z.record(z.string(), z.string()),
  /** The answers of the service that the CA asked. */
  replies: z.array(
    z.strictObject({ url: z.string(), status: z.int(), contentType: z.string(), body: z.string() }),
  ),
  at: z.iso.datetime(),
  nonce: z.string(),
  csr: z.string(),
  opening: z.string(),
  /** To the one question; missing where none is asked. */
  answer: z.string().optional(),
  /** What is proven, or the refusal. */
  proven: z.strictObject({ node: z.string(), attributes: z.record(z.string(), z.string()) }).optional(),
  code: z.string().optional(),
});
export type EvidenceVector = z.infer<typeof EvidenceVector>;

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'base64');

/**
 * Runs the exchange again, at its time, with nobody to ask but the recording; `challenge` answers in place of the
 * recorded agent. Throws what it is refused with.
 */
export async function replay(
  vector: EvidenceVector,
  challenge: Turn['challenge'] = async () => bytesOf(vector.answer ?? ''),
): Promise<Pick<Proven, 'node' | 'attributes'>> {
  const now = () => new Date(vector.at);
  const clock = { now, sleepUntil: () => Promise.reject(new Error('nothing waits here')) };
  const deps: AttestorDeps = {
    trustDomain: parseTrustDomain(vector.trustDomain),
    memory: { advance: async (_platform, _node, next) => void next(undefined), bind: async () => {} },
    readFile: (path) => utf8(vector.files[path] ?? ''),
    outbound: recordedOutbound(vector),
    clock,
    log: silentLog,
  };
  const attestors = await attestorsFrom(AttestorsConfig.parse(vector.config), deps);
  const byName = new Map(attestors.map((attestor) => [attestor.type, attestor]));
  const key = verifyCsr(bytesOf(vector.csr));
  const turn: Turn = {
    now,
    key,
    binding: attestationBinding(vector.trustDomain, bytesOf(vector.nonce), key.spki),
    peer: undefined,
    challenge,
  };
  const { node, attributes } = await prove(
    [attestorNamed(byName, vector.platform)],
    bytesOf(vector.opening),
    turn,
  );
  return { node, attributes };
}

function recordedOutbound({ replies }: EvidenceVector): Outbound {
  return {
    request: async ({ url }) => {
      const reply = replies.find((each) => each.url === url);
      if (reply === undefined) throw new Error(`the recording has no answer of ${url}`);
      return { ...reply, body: bytesOf(reply.body) };
    },
    close() {},
  };
}
