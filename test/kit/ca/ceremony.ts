/** An offline root, made and used in this process. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { signerIn } from '@chancery/ca/ceremony/folder.ts';
import { makeOfflineRoot } from '@chancery/ca/ceremony/make.ts';
import { planSigning, signPlan } from '@chancery/ca/ceremony/sign.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { NOW } from '../certificates.ts';

const DAY = 86_400;
let rooms = 0;

/** An offline root in a folder of its own below `folder`, made at the start of the kit's time. */
export async function offlineRoot(
  folder: string,
  trustDomain: TrustDomain,
  algorithm: 'ecdsa-p256' | 'ecdsa-p384' = 'ecdsa-p384',
) {
  rooms += 1;
  const dir = join(folder, `root-${rooms}`);
  const at = { dir, keyEncryptionKey: join(dir, 'kek') };
  const random = (size: number) => randomBytes(size);
  const root = await makeOfflineRoot({
    ...at,
    trustDomain,
    algorithm,
    ttlSeconds: 3650 * DAY,
    now: NOW,
    random,
  });
  const order = { dir, root, ttlSeconds: 90 * DAY, now: NOW, random };
  const sign = async (request: string, changes = {}) =>
    signPlan(planSigning({ ...order, request: utf8(request), ...changes }), signerIn(at, root));
  return { ...at, root, order, sign, signer: signerIn(at, root) };
}
