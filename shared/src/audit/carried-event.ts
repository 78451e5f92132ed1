/** Audit events of what is signed elsewhere: by roots that are offline, and by CAs above this one. */

/** A part of `AuditEvent`. */
export type CarriedEvent =
  | {
      /** A root whose key is elsewhere is asked for an intermediate, which the request's key is for. */
      readonly type: 'authority.requested';
      readonly label: string;
      readonly root: string;
      readonly keySha256: string;
      /** The operator who asked for it; absent where the CA asks by itself. */
      readonly by?: string;
    }
  | {
      /** A request that nobody will answer any more: another root signs now. */
      readonly type: 'authority.requestDropped';
      readonly label: string;
      readonly root: string;
    }
  | {
      /** The answer of the root, signed elsewhere. */
      readonly type: 'authority.imported';
      readonly kind: 'intermediate';
      readonly label: string;
      readonly serial: string;
      readonly notAfter: string;
      readonly by: string;
    }
  | {
      /** A CA above is asked to certify the key and the name of a root. */
      readonly type: 'authority.crossRequested';
      readonly root: string;
      readonly keySha256: string;
      readonly by: string;
    }
  | {
      /** What a CA above has certified of a root: the chain of its certificates, the cross-certificate first. */
      readonly type: 'authority.crossCertified';
      readonly root: string;
      readonly chain: readonly {
        readonly issuer: string;
        readonly serial: string;
        readonly sha256: string;
      }[];
      /** The end of the first to end. */
      readonly notAfter: string;
      readonly by: string;
    }
  | {
      /** The revocation list of a root, signed elsewhere. */
      readonly type: 'authority.listed';
      readonly root: string;
      /** Of the list, hexadecimal. */
      readonly number: string;
      readonly entries: number;
      readonly nextUpdate: string;
      readonly by: string;
    }
  | {
      /** The certificate of a root whose key is elsewhere: the first of this CA, or one to rotate to. */
      readonly type: 'authority.adopted';
      readonly kind: 'root';
      readonly serial: string;
      readonly notAfter: string;
    };
