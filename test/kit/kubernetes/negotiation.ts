/**
 * What the API server checks of a request's form before it does anything: media types, parameters and the kind of the
 * body. docs/attestors/stand-ins.md says where each rule is from.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Refused } from './status.ts';

export const JSON_TYPE = 'application/json';
/** The only type in which it writes its keys. */
export const JWKS_TYPE = 'application/jwk-set+json';

/** What a web service of go-restful does: an exact type, or any type. There is no `application/*`. */
export function ensureProduces(type: string, { accept }: IncomingHttpHeaders): void {
  const wanted = typesOf(accept);
  if (!wanted.includes('*/*') && !wanted.includes(type))
    throw new Refused(406, 'NotAcceptable', `406: Not Acceptable. Available representations: ${type}`);
}

/** Resources are also written as YAML and protobuf; this stand-in writes JSON only. */
export function ensureJsonAnswer({ accept }: IncomingHttpHeaders): void {
  const wanted = typesOf(accept);
  if (![JSON_TYPE, 'application/*', '*/*'].some((type) => wanted.includes(type)))
    throw new Refused(406, 'NotAcceptable', `only the following media types are accepted: ${JSON_TYPE}`);
}

const typesOf = (accept = '*/*'): readonly string[] =>
  accept.split(',').map((each) => (each.split(';', 1)[0] ?? '').trim());

/** The body of a create, with JSON as the type where none is said, and no other kind than the path's. */
export function readBody(text: string, kind: string, { 'content-type': type }: IncomingHttpHeaders): object {
  const said = (type ?? JSON_TYPE).split(';', 1)[0]?.trim();
  if (said !== JSON_TYPE)
    throw new Refused(
      415,
      'UnsupportedMediaType',
      `the body of the request was in an unknown format - accepted media types include: ${JSON_TYPE}`,
    );
  const body = parse(text);
  const group = body.apiVersion ?? 'authentication.k8s.io/v1';
  if ((body.kind ?? kind) !== kind || group !== 'authentication.k8s.io/v1')
    throw new Refused(400, 'BadRequest', `${kind} in version "v1" cannot be handled as a ${body.kind}`);
  return body;
}

function parse(text: string): { readonly kind?: string; readonly apiVersion?: string } {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(400, 'BadRequest', 'the object provided is unrecognized');
  }
}

/** CreateOptions and GetOptions (meta/v1). */
const PARAMETERS = ['pretty', 'dryRun', 'fieldManager', 'fieldValidation', 'resourceVersion'];

/** The real server ignores parameters that it does not know; here a misspelt one shows. */
export function ensureKnownParameters(query: URLSearchParams): void {
  const strange = [...query.keys()].find((name) => !PARAMETERS.includes(name));
  if (strange !== undefined)
    throw new Refused(400, 'BadRequest', `the stand-in knows no parameter ${strange}`);
}
