/**
 * All refusals of this system. The code is the reason for an auditor. On the wire it is only a gRPC status and a
 * sentence that many codes share, so that a refusal is not an oracle.
 */
import { printableLines } from '../text/printable.ts';

const EVIDENCE = 'evidence did not verify';
const UNREADABLE = 'evidence could not be read';
const REQUEST = 'the request could not be read';
const PEER = 'the peer certificate is not accepted';
const CSR = 'the certificate request is not acceptable';
const NOT_YOURS = 'no identity is given for this evidence';
const BUSY = 'too much is being asked; try again later';
const MCP = 'the message is not acceptable';

export const REFUSALS = {
  // Attestation: the exchange
  nonce_mismatch: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  nonce_used: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  nonce_expired: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  platform_unknown: { grpc: 'INVALID_ARGUMENT', says: 'the platform is not configured here' },
  evidence_parse: { grpc: 'INVALID_ARGUMENT', says: UNREADABLE },
  // Attestation: TPM
  ak_attributes: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ak_template: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ak_mixed: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  activation_failed: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_mismatch: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_chain: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_profile: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_validity: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_template: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_weak: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_parse: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  ek_encoding: { grpc: 'INVALID_ARGUMENT', says: UNREADABLE },
  pcr_selection: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  pcr_digest: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  pcr_policy: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  attest_type: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  attest_parse: { grpc: 'INVALID_ARGUMENT', says: UNREADABLE },
  sig_alg: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sig_invalid: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  certify_name: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  key_attributes: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  key_binding: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  rollback: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  eventlog: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  eventlog_size: { grpc: 'RESOURCE_EXHAUSTED', says: 'the event log is too large' },
  ek_in_use: { grpc: 'ALREADY_EXISTS', says: 'this node is already connected' },
  ek_changed: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  // Attestation: platforms that sign tokens or answer for a caller
  platform_unavailable: { grpc: 'UNAVAILABLE', says: 'the platform could not be asked' },
  keys_unavailable: { grpc: 'UNAVAILABLE', says: 'the platform could not be asked' },
  jwt_parse: { grpc: 'INVALID_ARGUMENT', says: UNREADABLE },
  jwt_duplicate: { grpc: 'INVALID_ARGUMENT', says: UNREADABLE },
  jwt_header: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  jwt_alg: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  jwt_signature: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  jwt_aud: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  jwt_time: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  jti_replay: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  claim_rule: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  issuer_unknown: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  issuer_account: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_host: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_header: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_date: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_scope: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_response: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  sts_refused: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  aws_organization: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  arn_policy: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  principal_kind: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  k8s_audience: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  k8s_unbound: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  k8s_subject: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  k8s_cluster: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  k8s_pod: { grpc: 'PERMISSION_DENIED', says: EVIDENCE },
  signer: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  azure_san: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  azure_document: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  azure_vm: { grpc: 'UNAUTHENTICATED', says: EVIDENCE },
  // Attestation: peer credentials
  peer_unknown: { grpc: 'UNAUTHENTICATED', says: 'the caller could not be identified' },
  peer_uid: { grpc: 'PERMISSION_DENIED', says: 'the caller may not do this' },
  peer_gone: { grpc: 'UNAUTHENTICATED', says: 'the caller could not be identified' },
  // Issuing
  csr_pop: { grpc: 'INVALID_ARGUMENT', says: CSR },
  csr_key: { grpc: 'INVALID_ARGUMENT', says: CSR },
  csr_parse: { grpc: 'INVALID_ARGUMENT', says: CSR },
  csr_size: { grpc: 'RESOURCE_EXHAUSTED', says: CSR },
  spiffe_id: { grpc: 'INVALID_ARGUMENT', says: 'the SPIFFE ID is not valid' },
  trust_domain: { grpc: 'INVALID_ARGUMENT', says: 'the trust domain is not valid' },
  no_identity: { grpc: 'PERMISSION_DENIED', says: NOT_YOURS },
  not_entitled: { grpc: 'PERMISSION_DENIED', says: NOT_YOURS },
  scope_unknown: { grpc: 'INVALID_ARGUMENT', says: 'the certificate cannot have this scope' },
  revoked_identity: { grpc: 'PERMISSION_DENIED', says: NOT_YOURS },
  key_reuse: { grpc: 'PERMISSION_DENIED', says: CSR },
  authority_unfit: { grpc: 'UNAVAILABLE', says: 'the authority cannot issue now' },
  key_missing: { grpc: 'UNAVAILABLE', says: 'the authority cannot issue now' },
  key_wrong: { grpc: 'UNAVAILABLE', says: 'the authority cannot issue now' },
  key_unreachable: { grpc: 'UNAVAILABLE', says: 'the authority cannot issue now' },
  key_refused: { grpc: 'UNAVAILABLE', says: 'the authority cannot issue now' },
  authority_request: {
    grpc: 'INVALID_ARGUMENT',
    says: 'the request for the certificate of an authority is not acceptable',
  },
  authority_answer: {
    grpc: 'INVALID_ARGUMENT',
    says: 'the certificate of an authority is not acceptable',
  },
  lint: { grpc: 'INTERNAL', says: 'the certificate could not be issued' },
  // Certificates and peers
  der: { grpc: 'INVALID_ARGUMENT', says: 'the DER is not valid' },
  certificate_parse: { grpc: 'INVALID_ARGUMENT', says: PEER },
  chain: { grpc: 'UNAUTHENTICATED', says: PEER },
  chain_too_long: { grpc: 'INVALID_ARGUMENT', says: PEER },
  svid: { grpc: 'UNAUTHENTICATED', says: PEER },
  wrong_peer: { grpc: 'UNAUTHENTICATED', says: PEER },
  no_peer: { grpc: 'UNAUTHENTICATED', says: 'a certificate of this trust domain is needed' },
  bundle: { grpc: 'INVALID_ARGUMENT', says: 'the bundle is not valid' },
  bootstrap: { grpc: 'FAILED_PRECONDITION', says: 'a bundle or a pin is needed to trust the CA' },
  // The two differ, so that an agent can distinguish a revocation from a temporary failure.
  // Sent only to a peer that proved the certificate's key
  revoked_peer: { grpc: 'UNAUTHENTICATED', says: 'the peer certificate is revoked' },
  expired_peer: { grpc: 'UNAUTHENTICATED', says: 'the peer certificate has expired' },
  crl: { grpc: 'INVALID_ARGUMENT', says: 'the revocation list is not valid' },
  // The wire
  message_parse: { grpc: 'INVALID_ARGUMENT', says: REQUEST },
  message_size: { grpc: 'RESOURCE_EXHAUSTED', says: REQUEST },
  out_of_order: { grpc: 'FAILED_PRECONDITION', says: 'the messages came out of order' },
  rate: { grpc: 'RESOURCE_EXHAUSTED', says: BUSY },
  deadline: { grpc: 'DEADLINE_EXCEEDED', says: 'the time for this ran out' },
  operator_role: { grpc: 'PERMISSION_DENIED', says: 'the caller may not do this' },
  no_sign_in: {
    grpc: 'FAILED_PRECONDITION',
    says: 'this CA signs nobody in: its config has no `operators`',
  },
  operator_fresh: {
    grpc: 'PERMISSION_DENIED',
    says: 'this needs a fresh sign-in: chancery-ca login --again',
  },
  operator_second: {
    grpc: 'PERMISSION_DENIED',
    says: 'this needs a second operator: chancery-ca countersign',
  },
  countersign: { grpc: 'FAILED_PRECONDITION', says: 'this request cannot be countersigned' },
  node_state: { grpc: 'FAILED_PRECONDITION', says: 'this machine cannot be released' },
  review: { grpc: 'FAILED_PRECONDITION', says: 'this resource cannot be signed off' },
  // MCP
  mcp_parse: { grpc: 'INVALID_ARGUMENT', says: MCP },
  mcp_sessions: { grpc: 'RESOURCE_EXHAUSTED', says: 'the caller or the gateway has too many sessions' },
  mcp_size: { grpc: 'RESOURCE_EXHAUSTED', says: 'the message is too large' },
  mcp_media: { grpc: 'INVALID_ARGUMENT', says: 'the media type is not accepted' },
  mcp_accept: { grpc: 'INVALID_ARGUMENT', says: 'the answer could not be in an accepted media type' },
  mcp_headers: { grpc: 'INVALID_ARGUMENT', says: 'the headers do not match the body' },
  mcp_meta: { grpc: 'INVALID_ARGUMENT', says: 'the message lacks what this protocol version needs' },
  mcp_version: { grpc: 'INVALID_ARGUMENT', says: 'the protocol version is not supported' },
  mcp_unknown: { grpc: 'INVALID_ARGUMENT', says: 'the method is not known' },
  mcp_method: { grpc: 'INVALID_ARGUMENT', says: 'the method is not served' },
  mcp_session: { grpc: 'NOT_FOUND', says: 'the session is not known' },
  mcp_call: { grpc: 'PERMISSION_DENIED', says: 'the call may not go on' },
  mcp_state: { grpc: 'INVALID_ARGUMENT', says: 'the state of the request does not hold' },
  mcp_origin: { grpc: 'PERMISSION_DENIED', says: 'the origin is not allowed' },
  ca_unheard: { grpc: 'UNAVAILABLE', says: 'the gateway has not heard from its CA for too long' },
  audit_spool: { grpc: 'UNAVAILABLE', says: 'the gateway cannot record the call as its audit needs it' },
  mcp_upstream: { grpc: 'UNAVAILABLE', says: 'the MCP server could not be reached' },
  mcp_outcome: {
    grpc: 'UNAVAILABLE',
    says: 'no answer came, and the MCP server may have done what was asked',
  },
  not_gateway: {
    grpc: 'PERMISSION_DENIED',
    says: 'only the gateway of a registered MCP server reports calls',
  },
  server_unknown: { grpc: 'NOT_FOUND', says: 'the MCP server is not registered' },
  // Resources and config
  resource: { grpc: 'INVALID_ARGUMENT', says: 'the resources are not valid' },
  policy: { grpc: 'INVALID_ARGUMENT', says: 'the policy is not valid' },
  revocation: { grpc: 'INVALID_ARGUMENT', says: 'the revocation is not valid' },
  rotation: { grpc: 'FAILED_PRECONDITION', says: 'the rotation cannot go on now' },
  config: { grpc: 'INVALID_ARGUMENT', says: 'the config is not valid' },
  tlog: { grpc: 'INVALID_ARGUMENT', says: 'the log or the proof does not verify' },
  backup: { grpc: 'FAILED_PRECONDITION', says: 'the backup cannot be made or used' },
  // Machines
  tpm_device: { grpc: 'UNAVAILABLE', says: 'the TPM did not answer' },
  store: { grpc: 'UNAVAILABLE', says: 'the store is not available' },
  file_mode: { grpc: 'FAILED_PRECONDITION', says: 'a file is not protected' },
  file: { grpc: 'FAILED_PRECONDITION', says: 'a file could not be used' },
  recovering: { grpc: 'UNAVAILABLE', says: 'the CA was restored and issues nothing yet' },
  refused_by_ca: { grpc: 'PERMISSION_DENIED', says: 'the CA refused' },
  unavailable: { grpc: 'UNAVAILABLE', says: 'the service could not be reached' },
  internal: { grpc: 'INTERNAL', says: 'something went wrong here' },
} as const satisfies Record<string, { grpc: GrpcStatus; says: string }>;

export type GrpcStatus =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'UNAUTHENTICATED'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'INTERNAL';

export type Refusal = keyof typeof REFUSALS;

/** `message` is for the audit log and the operator. Callers on the wire see only `REFUSALS[code].says`. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly code: Refusal;
  constructor(code: Refusal, detail: string, options?: ErrorOptions) {
    // A flood causes thousands of these in a second; a stack is most of their cost, and says nothing of a peer's rate.
    const { stackTraceLimit } = Error;
    if (code === 'rate') Error.stackTraceLimit = 0;
    // A detail may quote input from outside, and is shown in logs and on terminals.
    super(printableLines(detail), options);
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
  }
}

/** Takes `boolean`, not `unknown`: a forgotten `await` then fails to compile instead of passing. */
export function ensure(holds: boolean, code: Refusal, detail: string): asserts holds {
  if (!holds) throw new IdentityError(code, detail);
}

/** Compares by code, so that an error that crossed a realm or a copy of this module still counts. */
export function isRefusal(error: unknown, code?: Refusal): error is IdentityError {
  if (!(error instanceof Error) || error.name !== 'IdentityError' || !('code' in error)) return false;
  return code === undefined || error.code === code;
}

/** Wraps what a library threw, once, where it enters; a refusal of ours passes through unchanged. */
export function refusalOf(error: unknown, code: Refusal, detail: string): IdentityError {
  return isRefusal(error) ? error : new IdentityError(code, detail, { cause: error });
}
