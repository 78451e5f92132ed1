/** A peer that may come from any loopback address and says what it likes: TLS without a certificate, raw HTTP/2. */
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';

export interface Stranger {
  readonly session: http2.ClientHttp2Session;
  /** Opens a call and sends these bytes, or nothing. */
  call(path: string, body?: Uint8Array): http2.ClientHttp2Stream;
  close(): void;
}

/** A TCP connection from that loopback address, which says nothing by itself. */
export const connectFrom = (localAddress: string, port: number): net.Socket =>
  net.connect({ host: '127.0.0.1', port, localAddress }).on('error', () => {});

/** Says the first byte of a TLS record and then nothing: with none it would stay in the kernel. */
export function fallSilent(socket: net.Socket): net.Socket {
  socket.write(Buffer.of(0x16));
  return socket;
}

export function stranger(localAddress: string, port: number): Stranger {
  const socket = tls.connect({
    socket: connectFrom(localAddress, port),
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  const session = http2.connect('https://ca.example', { createConnection: () => socket });
  session.on('error', () => {});
  return {
    session,
    call: (path, body) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.on('error', () => {});
      if (body !== undefined) stream.write(body);
      return stream;
    },
    close: () => session.destroy(),
  };
}

/** One message as gRPC frames it; `length` may promise more than is sent. */
export function framed(body: Uint8Array, length: number = body.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

/** The status with which a call ends, as a number; undefined when it ends without one. */
export function statusOf(stream: http2.ClientHttp2Stream): Promise<number | undefined> {
  return new Promise((resolve) => {
    let status: number | undefined;
    const see = (headers: http2.IncomingHttpHeaders): void => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    stream.on('response', see).on('trailers', see).resume();
    stream.on('end', () => resolve(status)).on('close', () => resolve(status));
  });
}
