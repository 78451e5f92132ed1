/** What the log keeps of JWT signing keys. */

/** A part of `AuditEvent`. */
export type JwtKeyEvent =
  | {
      /** A JWT signing key; its serial is its `kid`. */
      readonly type: 'jwtKey.made';
      readonly serial: string;
      readonly algorithm: string;
      readonly keySha256: string;
    }
  | {
      /** The states of JWT keys before and after, all changed at once; the other fields are as in authority.moved. */
      readonly type: 'jwtKey.moved';
      readonly moves: readonly { readonly serial: string; readonly from: string; readonly to: string }[];
      readonly by?: string;
      readonly leftBehind?: { readonly agents: number };
      readonly reason?: string;
      readonly without?: readonly string[];
    }
  | {
      /** A JWT key counts as stolen from now on: no token that it signed is good. */
      readonly type: 'jwtKey.tainted';
      readonly serial: string;
      readonly moves: readonly { readonly serial: string; readonly from: string; readonly to: string }[];
      readonly reason: string;
      readonly by: string;
    };
