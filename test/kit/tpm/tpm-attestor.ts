/** Drives the real TPM attestor with a fake TPM, one exchange at a time. */
import { ok } from 'node:assert/strict';
import type { Attestor, Facts, NodeMemory } from '@chancery/ca/attestors/attestor.ts';
import { TpmConfig } from '@chancery/ca/attestors/tpm/config.ts';
import { tpmAttestor } from '@chancery/ca/attestors/tpm.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { type GrpcStatus, IdentityError, REFUSALS, type Refusal } from '@chancery/shared/ground/errors.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { expect } from 'vitest';
import type { FakeTpm, Spoil } from './fake-tpm.ts';

export const NOW = new Date('2026-11-20T12:00:00Z');

/** Keeps what attestors remember, for one test. */
export function memoryOf(states = new Map<string, string>()): NodeMemory {
  return {
    async advance(platform, node, next) {
      const key = nodeName({ platform, node });
      states.set(key, next(states.get(key)));
    },
    async bind() {},
  };
}

export interface AttestorOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly memory?: NodeMemory;
  /** More files, by the names that the config uses. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly log?: Log;
}

/** Trusts `rootPem` alone. */
export function attestorTrusting(
  rootPem: string,
  { config, memory = memoryOf(), files, log = silentLog }: AttestorOptions = {},
): Attestor {
  const all: Record<string, string | Uint8Array> = { 'root.pem': rootPem, ...files };
  const parsed = TpmConfig.parse({ roots: ['root.pem'], ...config });
  const readFile = (path: string): Uint8Array => {
    const content = all[path] ?? '';
    return typeof content === 'string' ? utf8(content) : content;
  };
  return tpmAttestor(parsed, { memory, readFile, log });
}

/** In the one exchange that all of these have. */
export function bindingOf(spki: Uint8Array): Uint8Array {
  return attestationBinding('test.example', new Uint8Array(32).fill(7), spki);
}

export interface FakeExchange extends Spoil {
  /** The certified key is said to live in the TPM. */
  readonly tpmKey?: boolean;
  readonly proven?: ProvenKey;
  readonly now?: Date;
  /** Changes the packed messages. */
  readonly rawOpening?: (bytes: Uint8Array) => Uint8Array;
  readonly rawAnswer?: (bytes: Uint8Array) => Uint8Array;
}

export function attestFake(attestor: Attestor, tpm: FakeTpm, exchange: FakeExchange = {}): Promise<Facts> {
  const { tpmKey = false, proven = tpm.proven, now = NOW } = exchange;
  const { rawOpening = (same) => same, rawAnswer = (same) => same } = exchange;
  const binding = bindingOf(proven.spki);
  return attestor.attest(rawOpening(tpm.opening(tpmKey, exchange)), {
    now: () => now,
    key: proven,
    binding,
    peer: undefined,
    challenge: async (question) => rawAnswer(tpm.answer(question, binding, tpmKey, exchange)),
  });
}

/** The letters of the list of attacks. */
const STATUS = {
  U: 'UNAUTHENTICATED',
  D: 'PERMISSION_DENIED',
  I: 'INVALID_ARGUMENT',
  R: 'RESOURCE_EXHAUSTED',
  F: 'FAILED_PRECONDITION',
  A: 'ALREADY_EXISTS',
} as const satisfies Record<string, GrpcStatus>;

export interface Expected {
  readonly status: keyof typeof STATUS;
  readonly code: Refusal;
  readonly says: RegExp;
}

/** The refusal is this one, for this reason, with this status on the wire. */
export async function expectRefusal(
  attempt: Promise<unknown>,
  { status, code, says }: Expected,
): Promise<void> {
  const error: unknown = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  ok(error instanceof IdentityError, `refused with a code, not ${String(error)}`);
  expect({ code: error.code, detail: error.message }).toEqual({ code, detail: expect.stringMatching(says) });
  expect(REFUSALS[error.code].grpc).toBe(STATUS[status]);
}
