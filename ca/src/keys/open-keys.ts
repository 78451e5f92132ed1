/** The homes of keys that the config names, opened. */
import { join } from 'node:path';
import type { KeyHome } from '@chancery/shared/keys/home.ts';
import type { Keks } from '@chancery/shared/keys/keks.ts';
import { AWS_KMS, type KmsHome, openKmsHome } from './aws-kms/kms-home.ts';
import type { KeysConfig } from './config.ts';
import { homesBy, type KeyHomes } from './homes.ts';
import { FILE, keyFiles } from './key-files.ts';
import { OFFLINE, offlineKeys } from './offline.ts';
import { openPkcs11, PKCS11 } from './pkcs11/pkcs11-home.ts';
import { STANDBY, standbyKeys } from './standby-keys.ts';

export interface KeysAt {
  /** The folder of the home `file`, and of what homes remember. */
  readonly folder: string;
  /** The folder of the keys of standby roots. */
  readonly standbyFolder: string;
  readonly keks: Keks;
  readonly trustDomain: string;
}

export interface OpenKeys {
  readonly homes: KeyHomes;
  /** Ends sessions with tokens, and connections. */
  close(): Promise<void>;
}

/** Asks no home for a key yet. Throws file, file_mode, and key_unreachable where a module cannot be used. */
export async function openKeys(config: KeysConfig, at: KeysAt): Promise<OpenKeys> {
  const { folder, standbyFolder, keks } = at;
  // Now, so that a CA which could not open a key says so at its start.
  const keyEncryptionKey = keks.newest();
  const spare = standbyKeys({ folder, standbyFolder, keks });
  const homes = new Map<string, KeyHome>([
    [FILE, keyFiles(folder, keks)],
    [STANDBY, spare],
    [OFFLINE, offlineKeys],
  ]);
  const { algorithm } = config.root;
  const next = { home: STANDBY, algorithm };
  const standby = { ...spare, next, create: (label: string) => spare.create(label, algorithm) };
  const refusedFile = join(folder, 'refused-pin');
  const { pkcs11, 'aws-kms': aws } = config;
  const token = pkcs11 && (await openPkcs11({ ...pkcs11, refusedFile, keyEncryptionKey }));
  if (token !== undefined) homes.set(PKCS11, token);
  const kms = aws && (await openKmsHome({ ...aws, trustDomain: at.trustDomain }));
  if (kms !== undefined) homes.set(AWS_KMS, kms);
  const { root, ...others } = homesBy(homes, config);
  return {
    homes: { root: kms === undefined ? root : withNamedKey(root, kms, config), ...others, standby },
    async close() {
      token?.close();
      kms?.close();
    },
  };
}

/** A root's key that an operator has made is used where new roots' keys are in AWS KMS. */
function withNamedKey(root: KeyHome, kms: KmsHome, { root: wanted, 'aws-kms': aws }: KeysConfig): KeyHome {
  const name = wanted.home === AWS_KMS ? aws?.rootKey : undefined;
  if (name === undefined) return root;
  const adopt = () => kms.adopt(name, wanted.algorithm);
  return { ...root, create: adopt, ready: async () => void (await adopt()) };
}
