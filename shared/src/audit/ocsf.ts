/**
 * Entries of the audit log as events of OCSF 1.8.0: Authentication (3002) for who showed who they are or failed to, API
 * Activity (6003) for everything else. Each entry is one event, which has the entry itself in `raw_data`.
 */
import { isIP } from 'node:net';
import type { AuditEvent } from './event.ts';
import { decisionOf } from './leaves.ts';

const VERSION = '1.8.0';
const CA = 'chancery-ca';

/** Numbers of OCSF. */
const API_ACTIVITY = { class_uid: 6003, category_uid: 6 } as const;
const AUTHENTICATION = { class_uid: 3002, category_uid: 3 } as const;
const [LOGON, CREATE, UPDATE, DELETE, OTHER] = [1, 1, 3, 4, 99];
const [UNKNOWN, SUCCESS, FAILURE] = [0, 1, 2];
const [INFORMATIONAL, MEDIUM] = [1, 3];

type Fields = Readonly<Record<string, unknown>>;

/** Calls in which somebody shows evidence, or a proof of who they are. */
const SHOWING = new Set(['Attest', 'Renew', 'SignIn']);

/** What the entry's type does to something; what is not here is Other. */
const ACTIVITIES: Readonly<Record<string, number>> = {
  'svid.issuing': CREATE,
  'svid.issued': CREATE,
  'svid.failed': CREATE,
  'authority.certifying': CREATE,
  'authority.certified': CREATE,
  'authority.moved': UPDATE,
  'jwtKey.made': CREATE,
  'jwtKey.moved': UPDATE,
  'registry.applied': UPDATE,
  'revocation.made': CREATE,
  'revocation.lifted': DELETE,
  'log.pruned': DELETE,
};

/** Entries that say what is going to be tried. */
const INTENTS = new Set(['svid.issuing', 'authority.certifying', 'operator.acting']);

/** `entry` is its text; `index` is its place in the log, undefined if it is not integrated yet. */
export function ocsfOf(entry: string, index: number | undefined): Fields {
  const fields = JSON.parse(entry) as Fields;
  const type = String(fields['type']);
  const about = type === 'call.recorded' ? aboutCall(fields) : fields;
  const base = { ...common(fields, about), ...statusOf(fields, about), raw_data: entry };
  const metadata = metadataOf(fields, about, index);
  if (isAuthentication(type, about)) {
    const user = userOf(about) ?? { name: 'unknown' };
    const activity = { activity_id: LOGON, type_uid: AUTHENTICATION.class_uid * 100 + LOGON };
    return { ...AUTHENTICATION, ...activity, ...base, metadata, user, service: { name: CA } };
  }
  const id = ACTIVITIES[type] ?? OTHER;
  const user = userOf(about);
  return {
    ...API_ACTIVITY,
    activity_id: id,
    type_uid: API_ACTIVITY.class_uid * 100 + id,
    ...base,
    metadata,
    actor: user === undefined ? { app_name: text(about, 'reporter') ?? CA } : { user },
    api: {
      operation: operationOf(type, about),
      service: { name: text(about, 'server') ?? CA },
      ...requestOf(about),
    },
    ...resourcesOf(about),
  };
}

/**
 * The fields of a reported call as those of other entries. It is about no certificate, and the call's ID is what its
 * records have in common. Of a server that is not the reporter's own, it says nothing of who did what.
 */
function aboutCall(fields: Fields): Fields {
  const record = isFields(fields['record']) ? fields['record'] : {};
  const { id: reference, serial: _, caller, ...rest } = record;
  const reporter = fields['reporter'];
  const isForeign = fields['foreign'] === true;
  const address = text(rest, 'address') ?? (isForeign ? reporter : (caller ?? reporter));
  return { ...rest, reporter, reference, address, foreign: isForeign, ...(isForeign ? {} : { caller }) };
}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

const isAuthentication = (type: string, about: Fields): boolean =>
  type === 'node.attested' ||
  type === 'operator.signedIn' ||
  (type === 'request.refused' && SHOWING.has(String(about['rpc'])));

/** An empty text says nothing. */
function text(about: Fields, field: string): string | undefined {
  const value = about[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function number(about: Fields, field: string): number | undefined {
  const value = about[field];
  const whole = typeof value === 'number' ? Math.round(value) : -1;
  return whole >= 0 && Number.isSafeInteger(whole) ? whole : undefined;
}

/** Milliseconds since 1970. */
function time(about: Fields, field: string): number | undefined {
  const ms = Date.parse(text(about, field) ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

/** Without the fields that have no value. */
const known = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

function common(fields: Fields, about: Fields): Fields {
  return known({
    // When it happened, as the reporter says.
    time: time(about, 'time') ?? time(fields, 'at'),
    src_endpoint: endpointOf(text(about, 'peer') ?? text(about, 'address')),
    count: number(about, 'count'),
    start_time: time(about, 'since'),
    duration: number(about, 'latencyMs'),
  });
}

/** Of an address with a port, or of a name; what the CA did by itself came from there. */
function endpointOf(peer: string | undefined): Fields {
  const [, host = '', port] = /^\[?([^[\]]+?)\]?:(\d{1,5})$/.exec(peer ?? '') ?? [];
  if (isIP(host) > 0) return { ip: host, port: Number(port) };
  return peer !== undefined && isIP(peer) > 0 ? { ip: peer } : { name: peer ?? CA };
}

function statusOf(fields: Fields, about: Fields): Fields {
  // Written by the CA from this very type.
  const event = fields as unknown as AuditEvent;
  const isForeign = about['foreign'] === true;
  const decision = isForeign ? undefined : decisionOf(event);
  const failed = decision === 'denied' || decision === 'failed';
  const isOpen = INTENTS.has(event.type) || about['outcome'] === 'unknown';
  const done = isForeign || isOpen ? UNKNOWN : SUCCESS;
  return known({
    status_id: failed ? FAILURE : done,
    severity_id: failed ? MEDIUM : INFORMATIONAL,
    status_code: text(about, 'code'),
    status_detail: text(about, 'detail') ?? text(about, 'reason'),
  });
}

function metadataOf(fields: Fields, about: Fields, index: number | undefined): Fields {
  const reporter = text(about, 'reporter');
  return known({
    version: VERSION,
    product: { name: 'Chancery', vendor_name: 'Chancery' },
    log_name: 'audit',
    event_code: String(fields['type']),
    original_time: text(about, 'time') ?? String(fields['at']),
    logged_time: time(fields, 'at'),
    reporter: reporter === undefined ? undefined : { name: reporter },
    labels: about['foreign'] === true ? ['foreign'] : undefined,
    uid: index === undefined ? undefined : `${index}`,
    correlation_uid: text(about, 'reference'),
  });
}

/** Who acted: a caller, an operator, a node or a peer. */
function userOf(about: Fields): Fields | undefined {
  const [caller, by, node, peer] = ['caller', 'by', 'node', 'peer'].map((field) => text(about, field));
  if (caller !== undefined) return { uid: caller };
  if (by !== undefined) return known({ name: by, uid: text(about, 'authTime') && text(about, 'id') });
  if (node !== undefined) return { name: node, uid: `${text(about, 'platform') ?? ''}/${node}` };
  return peer === undefined ? undefined : { name: peer };
}

/** Arguments in clear. */
function requestOf(about: Fields): Fields {
  const data = about['arguments'];
  return isFields(data) ? { request: { uid: text(about, 'reference') ?? '', data } } : {};
}

const operationOf = (type: string, about: Fields): string =>
  text(about, 'tool') ??
  text(about, 'resource') ??
  text(about, 'prompt') ??
  text(about, 'method') ??
  text(about, 'rpc') ??
  text(about, 'verb') ??
  type;

/** The certificate, or what a revocation is of. */
function resourcesOf(about: Fields): Fields {
  const target = about['target'];
  const resource = isFields(target)
    ? { type: text(target, 'kind'), name: text(target, 'value') }
    : { type: 'certificate', name: text(about, 'id'), uid: text(about, 'serial') };
  return resource.name === undefined && text(about, 'serial') === undefined
    ? {}
    : { resources: [known(resource)] };
}
