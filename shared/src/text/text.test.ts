import { expect, test } from 'vitest';
import { hostAndPort, writeHostAndPort } from './address.ts';
import { cannotListen } from './listening.ts';
import { nearest } from './nearest.ts';
import { plainNetwork } from './network-sentence.ts';
import { MAX_SOCKET_PATH_BYTES } from './socket-path.ts';

const known = ['serve', 'apply', 'revoke', 'revocations', 'unrevoke', 'init'];

test.each([
  ['srve', 'serve'],
  ['aplly', 'apply'],
  ['aplpy', 'apply'],
  ['revok', 'revoke'],
  ['applies', undefined],
  ['', undefined],
  ['x', undefined],
])('%s may have been meant as %s', (word, meant) => {
  expect(nearest(word, known)).toBe(meant);
});

test.each(['ca.example:8443', '127.0.0.1:0', '[::]:8443', '[2001:db8::1]:1'])(
  '%s is read and written back',
  (text) => {
    expect(writeHostAndPort(hostAndPort(text))).toBe(text);
  },
);

test('I92 a socket whose path has too many bytes is refused with its length', () => {
  const invalid = Object.assign(new Error('listen EINVAL: invalid argument'), { code: 'EINVAL' });
  const path = `/run/${'é'.repeat(60)}`;
  expect(cannotListen(path, invalid)).toBe(
    `cannot listen on ${path}: ${path} has 125 bytes, and the path of a socket has at most ${MAX_SOCKET_PATH_BYTES}: use a shorter path`,
  );
});

test('an address in use is named with the reason', () => {
  const error = (code: string) => Object.assign(new Error('listen failed'), { code });
  expect(cannotListen('127.0.0.1:8443', error('EADDRINUSE'))).toBe(
    'cannot listen on 127.0.0.1:8443: another process has this address; ss -lntp shows which',
  );
  expect(cannotListen('127.0.0.1:8443', error('EADDRINUSE'), () => 'nginx, pid 812')).toBe(
    'cannot listen on 127.0.0.1:8443: another process has this address: nginx, pid 812',
  );
  expect(cannotListen('/run/a.sock', error('EADDRINUSE'))).toBe(
    'cannot listen on /run/a.sock: another process has this address; ss -lxp shows which',
  );
  expect(cannotListen('[::1]:1', error('EWHY'))).toBe('cannot listen on [::1]:1: listen failed');
  expect(cannotListen('x', 'odd')).toBe('cannot listen on x: odd');
});

test.each([
  ['connect ECONNREFUSED 127.0.0.1:1', '127.0.0.1:1: the connection was refused (ECONNREFUSED)'],
  [
    'connect ENETUNREACH 169.254.169.254:80 - Local (0.0.0.0:0)',
    '169.254.169.254:80: there is no route to its network (ENETUNREACH)',
  ],
  ['getaddrinfo ENOTFOUND ca.example', 'ca.example: its name has no address (ENOTFOUND)'],
  ['read ECONNRESET', 'the connection was reset (ECONNRESET)'],
  ['connect EWHY 1', 'connect EWHY 1'],
  ['socket hang up', 'socket hang up'],
])('what Node says of a connection, "%s", is put in words', (raw, says) => {
  expect(plainNetwork(raw)).toBe(says);
});
