/** Answers over HTTP as Node reads them, of a server on loopback that says what a test wants. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface AnswerServer {
  /** The head of an answer, of which nothing has been read. */
  answer(say: RequestListener, method?: string): Promise<IncomingMessage>;
  close(): void;
}

export async function startAnswers(): Promise<AnswerServer> {
  let say: RequestListener = (_req, res) => void res.end();
  const server = createServer((req, res) => {
    res.on('error', () => {});
    req.resume();
    say(req, res);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    async answer(next, method = 'POST') {
      say = next;
      const outgoing = request({ host: '127.0.0.1', port, method, agent: false });
      outgoing.on('error', () => {});
      const [response] = (await once(outgoing.end(), 'response')) as [IncomingMessage];
      return response;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Says a head with this type, and this body. */
export const saying =
  (type: string | undefined, body: string | Uint8Array = '', status = 200): RequestListener =>
  (_req, res) =>
    void res.writeHead(status, type === undefined ? {} : { 'content-type': type }).end(body);

/** Says less than it has announced, and ends the connection. */
export const breakingOff =
  (type: string, begun: string): RequestListener =>
  (_req, res) => {
    res.writeHead(200, { 'content-type': type });
    res.write(begun, () => setImmediate(() => res.destroy()));
  };
