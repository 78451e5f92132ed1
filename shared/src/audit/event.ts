/** What an auditor will ask about. Past tense for facts, `-ing` for intent that is written before the act. */

import type { Refusal } from '../ground/errors.ts';
import type { Reason, Target } from '../revocation/revocation.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Voucher } from '../voucher/voucher.ts';
import type { CallRecord } from './call-record.ts';
import type { CarriedEvent } from './carried-event.ts';
import type { JwtKeyEvent } from './jwt-event.ts';

export type AuditEvent =
  | {
      readonly type: 'svid.issuing';
      readonly id: SpiffeId;
      readonly serial: string;
      readonly notAfter: string;
      readonly platform: string;
      readonly node: string;
      readonly identity: string;
      /** Serial of the attested certificate that it comes of, where it was not attested for itself. */
      readonly origin?: string;
      /** Serial of the certificate that it replaces. */
      readonly succeeds?: string;
      /** The narrower grant that it has. */
      readonly scope?: string;
      /** SHA-256 of the to-be-signed bytes, hexadecimal: ties this line to one certificate. */
      readonly tbs: string;
    }
  | {
      readonly type: 'svid.issued';
      readonly serial: string;
      /** SHA-256 of the certificate, hexadecimal. */
      readonly sha256: string;
    }
  | {
      /** What was on record as being issued was not signed. */
      readonly type: 'svid.failed';
      readonly serial: string;
      readonly detail: string;
    }
  | {
      readonly type: 'node.attested';
      readonly platform: string;
      readonly node: string;
      readonly attributes: Readonly<Record<string, string>>;
      /** SHA-256 of all that the agent sent: evidence itself is never kept. */
      readonly evidence: string;
    }
  | {
      readonly type: 'request.refused';
      readonly rpc: string;
      readonly code: Refusal;
      readonly detail: string;
      readonly peer: string;
      /** What the peer was told, to be named when it asks. */
      readonly reference?: string;
      /** How many refusals of this peer, method and code the record stands for; absent in a record in full. */
      readonly count?: number;
      /** When the window of those began, RFC 3339. */
      readonly since?: string;
    }
  | {
      /** Before an operator's change, whatever becomes of it; a change that was made is an event of its own. */
      readonly type: 'operator.acting';
      readonly verb: string;
      /** What is to be changed. */
      readonly about: string;
      readonly by: string;
    }
  | {
      /** A person became an operator; the certificate is an event of its own. */
      readonly type: 'operator.signedIn';
      readonly id: SpiffeId;
      /** Subject and issuer, and what the issuer calls them. */
      readonly by: string;
      readonly role: string;
      /** Of an owner: the McpServers. */
      readonly servers: readonly string[];
      /** When they showed the issuer who they are. */
      readonly authTime: string;
      /** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
      readonly key: string;
    }
  | {
      readonly type: 'registry.applied';
      readonly version: number;
      readonly changes: readonly string[];
      readonly by: string;
    }
  | {
      readonly type: 'authority.certifying';
      readonly kind: 'root' | 'intermediate';
      readonly serial: string;
      readonly notAfter: string;
      readonly tbs: string;
    }
  | {
      readonly type: 'authority.certified';
      readonly kind: 'root' | 'intermediate';
      readonly serial: string;
      readonly notAfter: string;
      /** Set for a root that stands by: its key, which no backup has, as the record of the authority names it. */
      readonly standby?: { readonly home: string; readonly reference: string; readonly algorithm: string };
    }
  | CarriedEvent
  | {
      /** The states of authorities before and after, all changed at once. */
      readonly type: 'authority.moved';
      readonly moves: readonly { readonly serial: string; readonly from: string; readonly to: string }[];
      /** The operator who asked for it; absent where the CA moved them by itself. */
      readonly by?: string;
      /** How many connected agents, and certificates of other holders, had not heard of the root that signs now. */
      readonly leftBehind?: { readonly agents: number; readonly certificates: number };
      /** Why the operator did not wait for them. */
      readonly reason?: string;
      /** The SPIFFE IDs that the operator did not wait for; the first 100. */
      readonly without?: readonly string[];
      /** How the active root vouches for the one that is published. */
      readonly voucher?: Voucher;
    }
  | {
      /** The key of an authority counts as stolen from now on; `moves` as in authority.moved. */
      readonly type: 'authority.tainted';
      readonly serial: string;
      readonly kind: 'root' | 'intermediate';
      readonly moves: readonly { readonly serial: string; readonly from: string; readonly to: string }[];
      readonly reason: string;
      readonly by: string;
      /** What a CA above has certified of it, and must revoke. */
      readonly above?: { readonly issuer: string; readonly serial: string; readonly notAfter: string };
    }
  | JwtKeyEvent
  | {
      readonly type: 'revocation.made';
      readonly number: number;
      readonly target: Target;
      readonly reason: Reason;
      readonly until?: string;
      readonly by: string;
    }
  | {
      readonly type: 'revocation.lifted';
      readonly number: number;
      readonly target: Target;
      readonly by: string;
    }
  | {
      /** Somebody has looked at a resource as it is, and says that it may stay. Changes nothing. */
      readonly type: 'review.signedOff';
      readonly kind: string;
      readonly name: string;
      /** SHA-256 of the resource's JSON, hexadecimal. */
      readonly digest: string;
      /** That of the resource. */
      readonly reviewBy?: string;
      readonly reason: string;
      readonly by: string;
    }
  | {
      /** One use of a verb was asked for, countersigned by a second person, and taken or withdrawn, in this order. */
      readonly type: `countersign.${'requested' | 'signed' | 'used' | 'withdrawn'}`;
      readonly number: number;
      readonly verb: string;
      /** SHA-256 of the verb and all that it is given, hexadecimal. */
      readonly digest: string;
      readonly about: string;
      readonly by: string;
    }
  | {
      /** An operator lets a machine start anew: what the CA held it to is forgotten. */
      readonly type: 'node.released';
      readonly platform: string;
      readonly node: string;
      /** SHA-256 of what was remembered, hexadecimal. */
      readonly was: string;
      readonly reason: string;
      readonly by: string;
    }
  | {
      /** The CA goes on from a backup, in another life. */
      readonly type: 'ca.restored';
      readonly life: number;
      /** When the backup was made, RFC 3339. */
      readonly backup: string;
      /** How many entries of the log came after the backup and were taken from a copy of the log. */
      readonly entries: number;
      /** Why the operator accepts the loss of what came after the backup. */
      readonly reason?: string;
      /** Nothing is issued yet: see `ca.issuesAgain`. */
      readonly holds?: true;
      readonly by: string;
    }
  | {
      /** An agent handed back revocations of lives before that a restored CA did not know. */
      readonly type: 'ca.handedBack';
      /** Of the state that was handed back. */
      readonly number: number;
      /** How many revocations it put in force. */
      readonly made: number;
      /** How many that were handed back before it took away: only in entries of older releases. */
      readonly lifted?: number;
      /** In force and not in the newest state: an operator may have lifted them after the backup; at most 100. */
      readonly kept: readonly number[];
      /** SHA-256 of keys of authorities that were tainted after the backup. */
      readonly tainted: readonly string[];
      readonly by: string;
    }
  | {
      /** A checkpoint was handed back to a restored CA: its log has lost so many entries. */
      readonly type: 'ca.entriesLost';
      readonly entries: number;
      /** Of the checkpoint. */
      readonly size: number;
      readonly by: string;
    }
  | {
      /** A restored CA issues from now on. */
      readonly type: 'ca.issuesAgain';
      readonly reason: string;
      readonly by: string;
    }
  | {
      /** The entries before this number are removed from now on; all of them are older than `before`. */
      readonly type: 'log.pruned';
      readonly entries: number;
      /** RFC 3339. */
      readonly before: string;
    }
  | {
      /** A gateway reported one of its records; whether it is true, the gateway alone knows. */
      readonly type: 'call.recorded';
      /** Who reported it, by their certificate. */
      readonly reporter: SpiffeId;
      readonly serial: string;
      /** The spool that it comes from, hexadecimal, and its number there: each comes once. */
      readonly spool: string;
      readonly number: number;
      /** Set where the server of the record was not one of the reporter's at that time. */
      readonly foreign?: true;
      readonly record: CallRecord;
    }
  | {
      readonly type: 'agent.connected';
      readonly id: SpiffeId;
      readonly serial: string;
      readonly peer: string;
    }
  | {
      readonly type: 'agent.acknowledged';
      readonly id: SpiffeId;
      /** Of the newest snapshot that is wholly in force there. */
      readonly sequence: number;
      /** What is in force there by part, which may be ahead; absent in records of older versions. */
      readonly bundle?: number;
      readonly policy?: number;
      readonly revocations?: number;
    };

/** Resolves once the event is durable. */
export type Audit = (event: AuditEvent) => Promise<void>;
