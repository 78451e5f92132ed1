/** A gateway that a test plays, with TLS on loopback and none of the gateway's code, and a dialler to it. */
import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { text } from 'node:stream/consumers';
import { Dialler, type Posted } from '@chancery/agent/mcp/connect/dial.ts';
import { BY_NAME } from '@chancery/agent/mcp/wire/endpoint.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { live, policyFor, TOOLS, TRIAGE, TrustDomainInMemory } from './world.ts';

export const portOf = (server: Pick<Server, 'address'>): number => (server.address() as AddressInfo).port;

export interface PlayedGateway {
  readonly td: TrustDomainInMemory;
  readonly server: https.Server;
  readonly port: number;
  /** Requests whose head has come, the oldest first. */
  readonly arrived: IncomingMessage[];
  /** What it does with a request. It answers `done` until a test says otherwise. */
  play: RequestListener;
  /** A dialler to this port, or to another one. The played gateway closes it. */
  dial(port?: number): Dialler;
  close(): Promise<void>;
}

export const sayDone: RequestListener = (req, res) => void req.resume().once('end', () => res.end('done'));

/** Answers once the body is whole, and by it. */
export const afterBody =
  (say: (body: string, ...to: Parameters<RequestListener>) => void): RequestListener =>
  (req, res) =>
    void text(req).then(
      (body) => say(body, req, res),
      () => {},
    );

export async function playGateway(): Promise<PlayedGateway> {
  const td = new TrustDomainInMemory();
  const arrived: IncomingMessage[] = [];
  const diallers: Dialler[] = [];
  const played = { td, arrived, play: sayDone };
  const server = https.createServer({ ...serverTls(td.svid(TOOLS)) }, (req, res) => {
    arrived.push(req);
    res.setHeader(BY_NAME, 'everything');
    for (const side of [req, res]) side.on('error', () => {});
    played.play(req, res);
  });
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const port = portOf(server);
  return Object.assign(played, {
    server,
    port,
    dial(to = port): Dialler {
      const dialler = new Dialler({
        server: 'everything',
        svid: live(td.svid(TRIAGE)),
        bundle: td.bundle,
        policy: live(policyFor(to, { allow: ['*'] })),
        revocations: live(revocationSet([], 1n)),
        clock: systemClock,
        log: silentLog,
      });
      diallers.push(dialler);
      return dialler;
    },
    async close(): Promise<void> {
      for (const dialler of diallers) dialler.close();
      server.closeAllConnections();
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  });
}

/** The gateway's answer to one request; rejects if there is none. */
export const sendBy = (dialler: Dialler, posted: Partial<Posted> = {}): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const whole: Posted = { method: 'POST', headers: {}, body: '{}', ...posted };
    dialler.send(whole, { onResponse: resolve, onError: reject });
  });
