/** The form of a request: method, Accept, Content-Type and parameters, as a stand-in's service wants them. */
import type { Received } from './served.ts';

export interface Form {
  /** By default GET only. */
  readonly methods?: readonly string[];
  /** Of the query, each at most once. A real service may ignore another one; here it shows. */
  readonly parameters?: readonly string[];
  /** What Accept must allow. */
  readonly produces?: string;
  /** Of a body. */
  readonly consumes?: string;
}

export interface FormFault {
  readonly status: 400 | 405 | 406 | 415;
  readonly says: string;
}

/** Undefined if nothing is wrong. */
export function faultOf(received: Received, form: Form): FormFault | undefined {
  const { method, target, headers } = received;
  const { methods = ['GET'], parameters = [], produces, consumes } = form;
  if (!methods.includes(method)) return { status: 405, says: `method ${method}` };
  const names = [...new URL(target, 'http://service').searchParams.keys()];
  const strange = names.find((name, at) => !parameters.includes(name) || names.indexOf(name) !== at);
  if (strange !== undefined) return { status: 400, says: `parameter ${strange} is unknown or repeated` };
  if (produces !== undefined && !accepts(headers.get('accept'), produces))
    return { status: 406, says: `${produces} is what there is` };
  const [type = ''] = headers.get('content-type') ?? [];
  if (consumes !== undefined && type.split(';', 1)[0]?.trim().toLowerCase() !== consumes)
    return { status: 415, says: `${consumes} is what is read` };
  return undefined;
}

/** RFC 9110, section 12.5.1: no Accept is any; `q=0` is not told apart. */
function accepts(accept: readonly string[] | undefined, type: string): boolean {
  if (accept === undefined) return true;
  const wanted = accept.join(',').toLowerCase().split(',');
  const [family = ''] = type.split('/');
  return wanted
    .map((each) => each.split(';', 1)[0]?.trim() ?? '')
    .some((each) => [type, `${family}/*`, '*/*'].includes(each));
}
