import net from 'node:net';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { Callers, type TlsCaller } from './caller.ts';

const caller = (address: string): TlsCaller => ({
  via: 'tls',
  address,
  shownCertificate: false,
  svid: () => {
    throw new Error('not asked here');
  },
});
/** How grpc-js names the peer of a socket. */
const peerOf = (socket: net.Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

describe('callers', () => {
  test('are told apart by their sockets', () => {
    const callers = new Callers();
    const [a, b] = [new net.Socket(), new net.Socket()];
    callers.add(a, caller('10.0.0.1'));
    callers.add(b, caller('10.0.0.2'));
    expect(callers.of(peerOf(a)).address).toBe('10.0.0.1');
    expect(callers.of(peerOf(b)).address).toBe('10.0.0.2');
  });

  test('are forgotten with their connection, and the next one is nobody else', () => {
    const callers = new Callers();
    const [a, b] = [new net.Socket(), new net.Socket()];
    const forget = callers.add(a, caller('10.0.0.1'));
    forget();
    callers.add(b, caller('10.0.0.2'));
    expect(peerOf(b)).not.toBe(peerOf(a));
    expect(() => callers.of(peerOf(a))).toThrow(refusal('no_peer', /^the connection is gone$/));
    expect(callers.size).toBe(1);
  });

  test.each(['', ':', 'caller-1', '127.0.0.1:1'])('are not found by %j', (peer) => {
    const callers = new Callers();
    callers.add(new net.Socket(), caller('10.0.0.1'));
    expect(() => callers.of(peer)).toThrow(refusal('no_peer', /gone/));
  });
});
