/** What goes wrong between Chancery and an API server, so that a test can ask for it. */
import type { ServerResponse } from 'node:http';
import { type Answer, failure } from './status.ts';

export type Trouble =
  | { readonly kind: 'status'; readonly status: number }
  /** Nothing is ever answered. */
  | { readonly kind: 'hang' }
  /** A byte now and then: every wait is short, and there is no end. */
  | { readonly kind: 'drip' }
  | { readonly kind: 'redirect'; readonly status: number; readonly to: string }
  | { readonly kind: 'huge'; readonly bytes: number }
  | { readonly kind: 'body'; readonly status?: number; readonly text: string }
  /** The connection ends without an answer, this many times. */
  | { readonly kind: 'cut'; left: number }
  /** The genuine answer, changed. */
  | { readonly kind: 'changed'; change(body: object): object };

const DRIP_MS = 20;

export async function spoil(
  trouble: Trouble,
  response: ServerResponse,
  genuine: () => Answer,
): Promise<void> {
  const { kind } = trouble;
  if (kind === 'hang') return;
  if (kind === 'cut' && trouble.left-- > 0) return void response.destroy();
  if (kind === 'drip') return drip(response);
  if (kind === 'redirect') response.writeHead(trouble.status, { location: trouble.to }).end();
  else if (kind === 'body') json(response, trouble.status ?? 201, trouble.text);
  else if (kind === 'huge')
    json(response, 201, `{"kind":"TokenReview","fill":"${'x'.repeat(trouble.bytes)}"}`);
  else if (kind === 'status')
    json(response, trouble.status, JSON.stringify(failure(trouble.status, 'Spoiled', 'by the test').body));
  else {
    const { status, body } = genuine();
    json(response, status, JSON.stringify(kind === 'cut' ? body : trouble.change(body)));
  }
}

function json(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(text);
}

/** Ends with the connection. */
function drip(response: ServerResponse): void {
  response.writeHead(201, { 'content-type': 'application/json' });
  const timer = setInterval(() => response.write(' '), DRIP_MS);
  response.on('close', () => clearInterval(timer));
}
