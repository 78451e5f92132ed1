/** How AWS services answer: a refusal with its code, in XML or JSON. */
import { randomUUID } from 'node:crypto';
import type { Answer } from '../http/served.ts';

export class AwsError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);

const XMLNS = 'https://sts.amazonaws.com/doc/2011-06-15/';

/** The query protocol's answers are XML unless JSON was asked for. */
export function answerQuery(
  action: string,
  result: Readonly<Record<string, string | Date>>,
  asJson: boolean,
): Answer {
  const requestId = randomUUID();
  if (asJson) {
    const members = Object.entries(result).map(([name, value]) => [name, inJson(value)]);
    const body = {
      [`${action}Response`]: {
        [`${action}Result`]: Object.fromEntries(members),
        ResponseMetadata: { RequestId: requestId },
      },
    };
    return reply(200, requestId, { json: body });
  }
  const members = Object.entries(result).map(
    ([name, value]) => `<${name}>${escapeXml(inXml(value))}</${name}>`,
  );
  return reply(200, requestId, {
    xml:
      `<${action}Response xmlns="${XMLNS}"><${action}Result>${members.join('')}</${action}Result>` +
      `<ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata></${action}Response>`,
  });
}

export function refuseQuery({ status, code, message }: AwsError, asJson: boolean): Answer {
  const requestId = randomUUID();
  const type = status < 500 ? 'Sender' : 'Receiver';
  if (asJson)
    return reply(status, requestId, {
      json: { Error: { Code: code, Message: message, Type: type }, RequestId: requestId },
    });
  return reply(status, requestId, {
    xml:
      `<ErrorResponse xmlns="${XMLNS}"><Error><Type>${type}</Type><Code>${code}</Code>` +
      `<Message>${escapeXml(message)}</Message></Error><RequestId>${requestId}</RequestId></ErrorResponse>`,
  });
}

/** The query protocol's JSON has instants as seconds with a fraction. */
const inJson = (value: string | Date): string | number =>
  value instanceof Date ? value.getTime() / 1000 : value;
const inXml = (value: string | Date): string => (value instanceof Date ? value.toISOString() : value);

function reply(status: number, requestId: string, body: { json: object } | { xml: string }): Answer {
  const [type, text] =
    'xml' in body ? ['text/xml', body.xml] : ['application/json', JSON.stringify(body.json)];
  return { status, headers: { 'content-type': type, 'x-amzn-requestid': requestId }, body: text };
}

/** The names under which the JSON protocol refuses what the query protocol refuses. */
const JSON_NAMES: Readonly<Record<string, string>> = {
  SignatureDoesNotMatch: 'InvalidSignatureException',
  InvalidClientTokenId: 'UnrecognizedClientException',
  ExpiredToken: 'ExpiredTokenException',
  IncompleteSignature: 'IncompleteSignatureException',
  MissingAuthenticationToken: 'MissingAuthenticationTokenException',
  AccessDenied: 'AccessDeniedException',
};

/** As AWS JSON 1.1 names them. */
export const jsonName = (code: string): string => JSON_NAMES[code] ?? code;
