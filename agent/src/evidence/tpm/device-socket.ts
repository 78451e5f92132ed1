/** A software TPM on a unix socket or TCP: swtpm's data channel, which is the raw protocol. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { ResponseAssembler } from './response.ts';
import type { TpmTransport } from './transport.ts';

const TCP = /^tcp:(?<host>[^:]+|\[[^\]]+\]):(?<port>\d{1,5})$/;

/** `unix:PATH` or `tcp:HOST:PORT`. Throws tpm_device. */
export async function openTpmSocket(device: string): Promise<TpmTransport> {
  const socket = dial(device);
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw new IdentityError('tpm_device', `no TPM answers at ${device}`, { cause: error });
  }
  return transportOver(socket, device);
}

function dial(device: string): Socket {
  if (device.startsWith('unix:')) return connect({ path: device.slice('unix:'.length) });
  const { host = '', port = '' } = TCP.exec(device)?.groups ?? {};
  ensure(host !== '', 'tpm_device', `${device} is neither /dev/tpmrm0, unix:PATH nor tcp:HOST:PORT`);
  return connect({ host: host.replace(/^\[|\]$/g, ''), port: Number(port), noDelay: true });
}

function transportOver(socket: Socket, device: string): TpmTransport {
  const response = new ResponseAssembler();
  let waiting: PromiseWithResolvers<Uint8Array> | undefined;
  let ended: IdentityError | undefined;
  const fail = (error: unknown): void => {
    ended ??= refusalOf(error, 'tpm_device', `the TPM at ${device} broke off`);
    waiting?.reject(ended);
    waiting = undefined;
    socket.destroy();
  };
  socket.on('error', fail);
  socket.on('close', () => fail(new IdentityError('tpm_device', `the TPM at ${device} hung up`)));
  socket.on('data', (piece: Uint8Array) => {
    try {
      const whole = response.push(piece);
      if (whole === undefined) return;
      waiting?.resolve(whole);
      waiting = undefined;
    } catch (error) {
      fail(error);
    }
  });
  return {
    async exchange(command) {
      // Nothing would ever answer: a closed socket emits no more events.
      if (ended !== undefined) throw ended;
      waiting = Promise.withResolvers<Uint8Array>();
      socket.write(command);
      return waiting.promise;
    },
    destroy: () => void socket.destroy(),
  };
}
