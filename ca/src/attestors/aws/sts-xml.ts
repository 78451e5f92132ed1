/**
 * The XML of STS's query protocol, as much of it as STS writes: elements, text and a namespace. Older regional
 * endpoints and stand-ins answer with it whatever Accept says. Comments, CDATA, processing instructions, document types
 * and mixed content are refused.
 */
import { ensure, type Refusal } from '@chancery/shared/ground/errors.ts';

/** An element's text, or its children by name. */
export type XmlValue = string | XmlElement;
export interface XmlElement {
  readonly [name: string]: XmlValue;
}

const DECLARATION = /^\uFEFF?\s*(<\?xml version="1\.0"( encoding="(UTF|utf)-8")?\s*\?>)?\s*/;
const TOKEN =
  /<([A-Za-z][A-Za-z0-9]*)(?:\s+xmlns="[^"<&]*")?\s*(\/?)>|<\/([A-Za-z][A-Za-z0-9]*)\s*>|([^<]+)/y;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const MAX_DEPTH = 4;

interface Open {
  readonly name: string;
  readonly children: Map<string, XmlValue>;
  text: string;
}

/** The root as the one member of an object, so that it looks as the JSON does. Throws `code`. */
export function parseXml(text: string, code: Refusal): XmlElement {
  const wrong = (says: string): string => `the XML ${says}`;
  const start = DECLARATION.exec(text)?.[0].length ?? 0;
  const document: Open = { name: '', children: new Map(), text: '' };
  const stack: Open[] = [document];
  TOKEN.lastIndex = start;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const [all, opening, empty, closing, chars] = TOKEN.exec(text) ?? [];
    ensure(all !== undefined, code, wrong(`cannot be read at character ${at}`));
    const top = stack.at(-1) ?? document;
    if (chars !== undefined) top.text += chars;
    if (opening !== undefined) stack.push({ name: opening, children: new Map(), text: '' });
    ensure(stack.length <= MAX_DEPTH + 1, code, wrong(`is nested deeper than ${MAX_DEPTH}`));
    if (closing === undefined && empty !== '/') continue;
    const element = stack.pop();
    const parent = stack.at(-1);
    const nested = element !== undefined && parent !== undefined;
    ensure(
      nested && element.name === (closing ?? opening),
      code,
      wrong('has an end tag without its start tag'),
    );
    ensure(!parent.children.has(element.name), code, wrong(`has ${element.name} twice`));
    parent.children.set(element.name, contentOf(element, code));
  }
  ensure(stack.length === 1, code, wrong('ends early'));
  const value = contentOf(document, code);
  ensure(
    typeof value !== 'string' && document.children.size === 1,
    code,
    wrong('must have one root element'),
  );
  return value;
}

function contentOf({ children, text }: Open, code: Refusal): XmlValue {
  if (children.size === 0) return withoutEntities(text, code);
  ensure(text.trim() === '', code, 'the XML has text between elements');
  return Object.fromEntries(children);
}

function withoutEntities(text: string, code: Refusal): string {
  return text.replace(/&([^;&]{0,8})(;?)/g, (_, name: string, end: string) => {
    const [, digits] = /^#(\d{1,5})$/.exec(name) ?? [];
    const char = digits === undefined ? ENTITIES[name] : String.fromCharCode(Number(digits));
    ensure(char !== undefined && end === ';', code, 'the XML has an entity that it may not have');
    return char;
  });
}
