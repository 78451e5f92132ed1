import net from 'node:net';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { Callers } from './callers.ts';

/** How grpc-js names the peer of a socket. */
const peerOf = (socket: net.Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

describe('callers', () => {
  test('are told apart by their sockets', () => {
    const callers = new Callers<string>();
    const [a, b] = [new net.Socket(), new net.Socket()];
    callers.add(a, 'one');
    callers.add(b, 'two');
    expect([callers.of(peerOf(a)), callers.of(peerOf(b))]).toEqual(['one', 'two']);
    expect([callers.at(a), callers.at(b)]).toEqual(['one', 'two']);
  });

  test('are forgotten with their connection, and the next one is nobody else', () => {
    const callers = new Callers<string>();
    const [a, b] = [new net.Socket(), new net.Socket()];
    const forget = callers.add(a, 'one');
    forget();
    callers.add(b, 'two');
    expect(peerOf(b)).not.toBe(peerOf(a));
    expect(() => callers.of(peerOf(a))).toThrow(refusal('no_peer', /^the connection is gone$/));
    expect([callers.find(peerOf(a)), callers.at(a), callers.size]).toEqual([undefined, undefined, 1]);
  });

  test.each(['', ':', 'caller-1', '127.0.0.1:1'])('are not found by %j', (peer) => {
    const callers = new Callers<string>();
    callers.add(new net.Socket(), 'one');
    expect(() => callers.of(peer)).toThrow(refusal('no_peer', /gone/));
  });
});
