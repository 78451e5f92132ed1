/** tpm2-tools at a software TPM, and what tests make with them. */
import { readFile } from 'node:fs/promises';
import type { SignedStatement } from '@chancery/agent/evidence/tpm/commands.ts';
import { runTool, type SoftwareTpm } from './swtpm.ts';

/** Runs one tool. There is no resource manager, so what it loaded is flushed. */
export async function runAndFlush(tpm: SoftwareTpm, ...command: readonly string[]): Promise<string> {
  const out = await runTool(tpm, command);
  await runTool(tpm, ['tpm2_flushcontext', '-t']);
  return out;
}

/** A primary storage key (TPM 2.0 Library part 1, section 23.2), whose context is written to this file. */
export async function makeStorageKey(tpm: SoftwareTpm, context: string): Promise<void> {
  const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt';
  const key = ['-C', 'o', '-g', 'sha256', '-G', 'ecc', '-a', attributes, '-c', context];
  await runAndFlush(tpm, 'tpm2_createprimary', '-Q', ...key);
}

interface QuoteOptions {
  /** Of the key that signs. */
  readonly context: string;
  /** Such as `sha256:0,1`. */
  readonly selection: string;
  readonly nonce: string;
  /** Names a file in the folder of the test. */
  readonly at: (name: string) => string;
}

export async function quoteByTool(
  tpm: SoftwareTpm,
  { context, selection, nonce, at }: QuoteOptions,
): Promise<SignedStatement> {
  const [message, signature] = [at('quoted'), at('signature')];
  const what = ['-c', context, '-l', selection, '-q', nonce, '-m', message, '-s', signature, '-g', 'sha256'];
  await runAndFlush(tpm, 'tpm2_quote', '-Q', ...what);
  return { attest: await readFile(message), signature: await readFile(signature) };
}
