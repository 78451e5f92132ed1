/** What a schema's issues mean for the person who wrote the file: a path and a sentence that names its key. */
import type { z } from 'zod';

export interface ProblemAt {
  readonly path: readonly PropertyKey[];
  readonly says: string;
}

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;
type UnionIssue = Extract<Issue, { readonly code: 'invalid_union' }>;

/** `issues` are those of a parse with `reportInput`, below `parent`. */
export const problemsOf = (issues: readonly Issue[], parent: Path = []): readonly ProblemAt[] =>
  issues
    .filter((issue) => !(isUnsafe(issue) && issues.some((other) => isTighter(other, issue))))
    .flatMap((issue) => problemsOfOne(issue, [...parent, ...issue.path]));

function problemsOfOne(issue: Issue, path: Path): readonly ProblemAt[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: [...path, key],
      says: `unknown key ${dotted([...path, key])}`,
    }));
  const form = issue.code === 'invalid_union' ? formMeant(issue) : undefined;
  if (form !== undefined) return problemsOf(form, path);
  // Of a record's key zod says only that it is invalid; what is wrong with it is inside.
  const messages =
    issue.code === 'invalid_key' ? issue.issues.map(({ message }) => message) : [issue.message];
  return messages.map((message) => ({
    path,
    says: path.length === 0 ? message : `${dotted(path)}: ${message}`,
  }));
}

/**
 * The issues of the form that the writer meant: the one of the value's type. Of several maps, the one that has every
 * key that any of them has. Undefined if no form is meant or the keys are of several forms: then only the union's own
 * sentence is true.
 */
function formMeant({ errors, input }: UnionIssue): readonly Issue[] | undefined {
  const ofItsType = errors.filter((form) => !form.some(isOtherType));
  const [only] = ofItsType;
  if (ofItsType.length <= 1 || typeof input !== 'object' || input === null) return only;
  const keys = Object.keys(input);
  const forms = ofItsType.map((form) => ({ form, unknown: unknownTo(form) }));
  const known = keys.filter((key) => forms.some(({ unknown }) => !unknown.has(key)));
  if (known.length === 0) return undefined;
  const meant = forms.filter(({ unknown }) => !known.some((key) => unknown.has(key)));
  return meant.toSorted((a, b) => a.form.length - b.form.length)[0]?.form;
}

/** zod's own bound of whole numbers, which is no news beside the key's own. */
const isUnsafe = (issue: Issue): boolean =>
  issue.code === 'too_big' && issue.maximum === Number.MAX_SAFE_INTEGER;
const isTighter = (other: Issue, issue: Issue): boolean =>
  other !== issue && other.code === 'too_big' && String(other.path) === String(issue.path);

const isOtherType = ({ code, path }: Issue): boolean => code === 'invalid_type' && path.length === 0;

const unknownTo = (form: readonly Issue[]): ReadonlySet<string> =>
  new Set(
    form.flatMap((issue) =>
      issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [],
    ),
  );

const dotted = (path: Path): string => path.map(String).join('.');
