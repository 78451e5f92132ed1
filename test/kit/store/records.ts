/** Records that a store is given by its tests. */
import type { AuthorityRecord, Issuance, RevocationDraft } from '@chancery/ca/store/store.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { after, NOW } from '../certificates.ts';

export const id = parseSpiffeId('spiffe://prod.example/web');
export const event = { type: 'agent.acknowledged', id, sequence: 1 } as const;

export const issuance: Issuance = {
  serial: '40aa',
  id,
  platform: 'tpm',
  node: 'a',
  identity: 'web',
  keySha256: Buffer.alloc(32, 1),
  issuer: '40bb',
  notBefore: NOW,
  notAfter: after(60),
};

export const authority: AuthorityRecord = {
  serial: '40bb',
  kind: 'root',
  state: 'active',
  algorithm: 'ecdsa-p256',
  key: { home: 'memory', reference: '40bb' },
  certificate: Buffer.from('der'),
  notAfter: after(3600),
};

export const draft: RevocationDraft = {
  target: { kind: 'id', value: id },
  reason: 'superseded',
  by: 'uid 0',
  until: after(60),
};
