/**
 * EK certificates of Compute Engine's Shielded VMs. Google's CA names no TCG purpose and no TPM; instead an extension
 * names the instance. The CA also certifies signing keys of the same VMs, which have another key usage.
 */
import { constructed, DerReader, TAG } from '@chancery/shared/der/read.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { EkProfile } from '@chancery/shared/tpm/endorsement.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { KEY_USAGE, readKeyUsage } from '@chancery/shared/x509/extensions.ts';

const CODE = 'ek_profile';
/** Google's arc (1.3.6.1.4.1.11129): instance information. */
const INSTANCE = '1.3.6.1.4.1.11129.2.1.21';
const PLAIN = /^[\x21-\x7e]{1,128}$/;

export const GCE_PROFILE: EkProfile = {
  eku: undefined,
  read(certificate) {
    const usage = readKeyUsage(certificate, CODE);
    const decrypts = usage?.has(KEY_USAGE.keyEncipherment) || usage?.has(KEY_USAGE.keyAgreement);
    ensure(
      decrypts === true,
      CODE,
      'the certificate is not for an endorsement key: its key usage is another',
    );
    return readInstance(certificate);
  },
};

/** The names of the `gcp` attestor, so that a rule can demand that both speak of one instance. */
function readInstance({ extensions }: Certificate): Readonly<Record<string, string>> {
  const found = extensions.get(INSTANCE);
  ensure(found !== undefined, CODE, `the EK certificate does not name its instance (extension ${INSTANCE})`);
  const outer = new DerReader(found.value, CODE);
  const body = outer.sequence('instance information');
  const attributes = {
    zone: plain(body, 'zone'),
    projectNumber: number(body, 'project number'),
    projectId: plain(body, 'project'),
    instanceId: number(body, 'instance ID'),
    instanceName: plain(body, 'instance name'),
  };
  ensureProduction(body.enter(constructed(0), 'security properties'));
  body.done('instance information');
  outer.done('instance information');
  return attributes;
}

function plain(body: DerReader, what: string): string {
  const text = Buffer.from(body.content(TAG.utf8String, what)).toString('latin1');
  ensure(PLAIN.test(text), CODE, `${what} of the EK certificate is not plain text`);
  return text;
}

/** An unsigned number of 64 bits, which Google writes as a signed one. */
function number(body: DerReader, what: string): string {
  const content = body.integer(what);
  ensure(content.length <= 9, CODE, `${what} of the EK certificate has more than 64 bits`);
  return BigInt.asUintN(64, BigInt(`0x${Buffer.from(content).toString('hex')}`) | signOf(content)).toString();
}

/** The bits above the content of a negative number. */
const signOf = (content: Uint8Array): bigint =>
  (content[0] ?? 0) >= 0x80 ? -1n << BigInt(8 * content.length) : 0n;

/** `[1] EXPLICIT BOOLEAN`: Google's CA also certifies what its machines under test make. The other fields are flags. */
function ensureProduction(properties: DerReader): void {
  const list = properties.sequence('security properties');
  let production = false;
  while (list.tag !== undefined) {
    const { tag } = list;
    const field = list.enter(tag, 'security property');
    if (tag === constructed(1)) production = field.boolean('production');
  }
  properties.done('security properties');
  ensure(production, CODE, 'the EK certificate is not of a production machine');
}
