import { expect, test } from 'vitest';
import { isCallable } from './address.ts';

test.each([
  'https://sts.eu-west-1.amazonaws.com',
  'https://host:8443/path',
  'https://host/keys?for=us',
  'http://127.0.0.1:8080',
  'http://[::1]:1/a',
  'http://localhost',
])('%s may be called', (text) => expect(isCallable(text)).toBe(true));

test.each([
  'http://sts.eu-west-1.amazonaws.com',
  'http://127.0.0.1.evil.example',
  'http://localhost.evil.example',
  'https://user@host',
  'https://user:secret@host',
  'https://host/#fragment',
  'https://host/ ',
  'file:///etc/passwd',
  'ftp://host',
  'host',
  '',
])('%s may not', (text) => expect(isCallable(text)).toBe(false));
