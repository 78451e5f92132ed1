/** PEM (RFC 7468): DER in a text file. Text between blocks is ignored (§5.2). A block with another label is refused. */
import { base64 } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';

const BLOCK = /-----BEGIN ([^\n-]+)-----\r?\n([A-Za-z0-9+/=\s]*?)-----END ([^\n-]+)-----/g;

/** All blocks, at least one, each with this label. Throws `code`. */
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

/** As `readPem`, and nothing but the blocks may be there, as `writePem` writes them. Throws `code`. */
export function readPemOnly(text: string, label: string, code: Refusal): Uint8Array[] {
  const blocks = readPem(text, label, code);
  const plain = blocks.map((block) => writePem(label, block)).join('');
  const says = `there is more than PEM blocks ${label} in lines of 64 characters`;
  const around = label === 'CERTIFICATE' && !text.startsWith('-----BEGIN ');
  const advice =
    ': the text before the first one, as `openssl ca` writes it, goes away with `openssl x509 -in FILE`';
  ensure(text.replaceAll('\r\n', '\n') === plain, code, around ? `${says}${advice}` : says);
  return blocks;
}

/** One block, in lines of 64 characters (RFC 7468 §2). */
export function writePem(label: string, der: Uint8Array): string {
  const lines = base64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/**
 * Buffer ignores characters that are not base64 and extra bits at the end, so the bytes are encoded again and compared.
 */
function decode(body: string, code: Refusal): Uint8Array {
  const text = body.replace(/\s/g, '');
  const bytes = Buffer.from(text, 'base64');
  ensure(bytes.length > 0 && base64(bytes) === text, code, 'a PEM block is not base64');
  return bytes;
}
