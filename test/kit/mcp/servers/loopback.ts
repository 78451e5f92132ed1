/**
 * Loaded before a server that listens on every interface and cannot be told otherwise: it listens on loopback instead,
 * where tests belong.
 */
import net from 'node:net';

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (this: net.Server, ...args: unknown[]): net.Server {
  const [port, next] = args;
  const onAll = /^\d+$/.test(String(port)) && typeof next !== 'string';
  return Reflect.apply(listen, this, onAll ? [port, '127.0.0.1', ...args.slice(1)] : args);
} as typeof listen;
