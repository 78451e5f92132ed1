/** SoftHSM, a token in files, as Debian has it; what `npm run pkcs11` compiles must be there, too. */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../processes.ts';

export const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
export const PIN = '471108';

/** Why tests with a token are left out; undefined if everything is here. */
export function whyNoToken(): string | undefined {
  for (const [program, flag, name] of [
    ['softhsm2-util', '--version', 'softhsm2'],
    ['pkcs11-tool', '--version', 'opensc'],
  ] as const)
    if (spawnSync(program, [flag]).error !== undefined) return `${program} is missing (Debian: ${name})`;
  try {
    createRequire(join(root, 'ca/package.json'))('pkcs11js');
    return undefined;
  } catch {
    return 'pkcs11js is not compiled: npm run pkcs11';
  }
}

export interface SoftHsm {
  readonly tokens: string;
  readonly pinFile: string;
  /** What a process needs to see it. */
  readonly env: { readonly SOFTHSM2_CONF: string };
  /** What pkcs11-tool says of all tokens of this folder. */
  slots(): string;
  /** Runs pkcs11-tool on this token, logged in. */
  tool(...args: readonly string[]): string;
}

/** Makes a token with this label in a folder of its own. */
export function makeSoftHsm(dir: string, label: string): SoftHsm {
  const [tokens, conf, pinFile] = ['tokens', 'softhsm2.conf', 'pin'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  fs.mkdirSync(tokens, { recursive: true });
  fs.writeFileSync(conf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  fs.writeFileSync(pinFile, `${PIN}\n`, { mode: 0o600 });
  const env = { ...process.env, SOFTHSM2_CONF: conf };
  const make = ['--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '08154711'];
  execFileSync('softhsm2-util', make, { env, stdio: 'pipe' });
  return {
    tokens,
    pinFile,
    env: { SOFTHSM2_CONF: conf },
    slots: () =>
      execFileSync('pkcs11-tool', ['--module', MODULE, '--list-token-slots'], { env, encoding: 'utf8' }),
    tool: (...args) => {
      const about = ['--module', MODULE, '--token-label', label, '--login', '--pin', PIN];
      return execFileSync('pkcs11-tool', [...about, ...args], { env, encoding: 'utf8', stdio: 'pipe' });
    },
  };
}
