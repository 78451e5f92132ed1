/** What a platform's evidence finds around it: files, variables and services, as a test says. */
import type { EvidenceDeps, EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { OutboundReply, OutboundRequest } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { ManualClock } from '../manual-clock.ts';

export interface PlaceOptions {
  readonly env?: EvidenceDeps['env'];
  /** Text by path; another path is ENOENT. */
  readonly files?: Readonly<Record<string, string>>;
  /** Of every service, to every question; an error is thrown. Without it nothing answers. */
  readonly answer?: ((request: OutboundRequest) => OutboundReply | Error) | undefined;
}

export interface Place {
  readonly deps: EvidenceDeps;
  /** All that was asked of services. */
  readonly asked: readonly OutboundRequest[];
}

export const BINDING = new Uint8Array(32).fill(7);
/** What a token's audience is for BINDING. */
export const AUDIENCE = 'chancery://test.example/BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc';

export const replied = (status: number, body = ''): OutboundReply => ({
  status,
  contentType: '',
  body: utf8(body),
});

export function place({ env = {}, files = {}, answer }: PlaceOptions = {}): Place {
  const asked: OutboundRequest[] = [];
  const request = async (each: OutboundRequest): Promise<OutboundReply> => {
    asked.push(each);
    const reply = answer?.(each) ?? new Error('no service was expected to be asked');
    if (reply instanceof Error) throw reply;
    return reply;
  };
  const readFile = async (path: string): Promise<Uint8Array> => {
    const text = files[path];
    if (text === undefined)
      throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT', syscall: 'open', path });
    return utf8(text);
  };
  const deps: EvidenceDeps = {
    trustDomain: parseTrustDomain('test.example'),
    env,
    clock: new ManualClock(new Date(0)),
    outbound: { request, close() {} },
    readFile,
  };
  return { deps, asked };
}

/** One whole exchange with a source that is asked nothing but BINDING. Closes the source. */
export async function answerOf(
  source: EvidenceSource,
  question: Uint8Array = new Uint8Array(),
): Promise<Uint8Array> {
  const exchange = await source.begin(new Uint8Array(), AbortSignal.timeout(5_000));
  try {
    return await exchange.answer(question, BINDING);
  } finally {
    await exchange.end();
    await source.close();
  }
}
