/**
 * PEM (RFC 7468): DER in a text file. Text between blocks is a comment (§5.2); a block of another kind is a
 * mistake.
 */
import { base64 } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';

const BLOCK = /-----BEGIN ([^\n-]+)-----\r?\n([A-Za-z0-9+/=\s]*?)-----END ([^\n-]+)-----/g;

/** All blocks, at least one, each labelled `label`. */
export function readPem(text: string, label: string, code: Refusal): Uint8Array[] {
  const begins = text.split('-----BEGIN ').length - 1;
  ensure(begins > 0, code, `no PEM block ${label} found`);
  const blocks = [...text.matchAll(BLOCK)];
  ensure(
    blocks.length === begins,
    code,
    'a PEM block is damaged: a BEGIN line, base64 and an END line are expected',
  );
  return blocks.map(([, begin = '', body = '', end = '']) => {
    ensure(begin === label, code, `a PEM block is ${JSON.stringify(begin)}, not ${label}`);
    ensure(end === label, code, `a PEM block begins as ${label} and ends as another`);
    return decode(body, code);
  });
}

/** Lines of 64 characters, as RFC 7468 §2 has them. */
export function writePem(label: string, der: Uint8Array): string {
  const lines = base64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Buffer skips what is not base64 and forgives bits after the end; the comparison does not. */
function decode(body: string, code: Refusal): Uint8Array {
  const text = body.replace(/\s/g, '');
  const bytes = Buffer.from(text, 'base64');
  ensure(bytes.length > 0 && base64(bytes) === text, code, 'a PEM block is not base64');
  return bytes;
}
