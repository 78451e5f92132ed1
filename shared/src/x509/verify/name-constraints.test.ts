import { describe, expect, test } from 'vitest';
import { extension, makeAuthority, makeLeaf } from '../../../../test/kit/certificates.ts';
import * as der from '../../der/write.ts';
import { utf8 } from '../../ground/bytes.ts';
import { commonName } from '../compose/tbs.ts';
import { NAME } from '../names.ts';
import { ensurePermitted, ensureWellFormed, namesOf, readNameConstraints } from './name-constraints.ts';

const root = makeAuthority('Root');
const [OUTSIDE, EXCLUDED] = [/is outside what its authority may certify/, /is excluded for its authority/];

interface Constraints {
  readonly permitted?: readonly Uint8Array[];
  readonly excluded?: readonly Uint8Array[];
}

const subtrees = (n: number, bases: readonly Uint8Array[] = []) =>
  bases.length === 0 ? [] : [der.explicit(n, ...bases.map((base) => der.sequence(base)))];
const constraintsOf = ({ permitted, excluded }: Constraints) =>
  read(der.sequence(...subtrees(0, permitted), ...subtrees(1, excluded)));

function read(value: Uint8Array) {
  const { certificate } = makeAuthority('Issuing', root, {
    extensions: { limit: extension('2.5.29.30', true, value) },
  });
  return readNameConstraints(certificate, 'chain');
}

const dns = (text: string) => der.implicit(NAME.dns, utf8(text));
const uri = (text: string) => der.implicit(NAME.uri, utf8(text));
const email = (text: string) => der.implicit(NAME.email, utf8(text));
const ip = (...bytes: readonly number[]) => der.implicit(NAME.ip, Uint8Array.from(bytes));
const directory = (name: Uint8Array) => der.explicit(NAME.directory, name);

function check(constraints: Constraints, name: Uint8Array, subject = der.sequence()): void {
  const names = extension('2.5.29.17', true, der.sequence(name));
  const { certificate } = makeLeaf('spiffe://prod.example/x', root, {
    extensions: { names },
    fields: { subject },
  });
  const found = namesOf(certificate, 'chain');
  ensureWellFormed(found, 'chain');
  const parsed = constraintsOf(constraints);
  if (parsed === undefined) throw new Error('no constraints');
  ensurePermitted(found, parsed, 'chain');
}

const parts = (...texts: readonly string[]) =>
  der.sequence(...texts.map((text) => commonName(text).subarray(2)));
const mail = der.sequence(
  der.set(der.sequence(der.oid('1.2.840.113549.1.9.1'), der.tlv(0x16, utf8('root@evil.example')))),
);

describe('accepts', () => {
  test.each<[string, Constraints, Uint8Array]>([
    ['a URI on the host', { permitted: [uri('prod.example')] }, uri('spiffe://prod.example/x')],
    [
      'a URI on the host, in another case',
      { permitted: [uri('Prod.Example')] },
      uri('SPIFFE://PROD.example/x'),
    ],
    ['a URI with user and port', { permitted: [uri('prod.example')] }, uri('https://me@prod.example:443/x')],
    ['a URI below the domain', { permitted: [uri('.example')] }, uri('spiffe://prod.example/x')],
    [
      'one of two hosts',
      { permitted: [uri('a.example'), uri('prod.example')] },
      uri('spiffe://prod.example/x'),
    ],
    ['a name of another kind', { permitted: [uri('prod.example')] }, dns('web.example')],
    ['a DNS name and what is below it', { permitted: [dns('example')] }, dns('Web.EXAMPLE')],
    ['every DNS name', { permitted: [dns('')] }, dns('web.example')],
    ['a wildcard inside', { permitted: [dns('example')] }, dns('*.web.example')],
    ['a wildcard beside what is excluded', { excluded: [dns('db.example')] }, dns('*.web.example')],
    ['a mailbox', { permitted: [email('root@prod.example')] }, email('root@PROD.example')],
    ['a mailbox at a host', { permitted: [email('prod.example')] }, email('root@prod.example')],
    ['a mailbox below a domain', { permitted: [email('.example')] }, email('root@prod.example')],
    ['an address in a network', { permitted: [ip(10, 0, 0, 0, 255, 0, 0, 0)] }, ip(10, 1, 2, 3)],
    ['a directory name below another', { permitted: [directory(parts('a'))] }, directory(parts('A', 'b'))],
  ])('%s', (_, constraints, name) => {
    expect(() => check(constraints, name)).not.toThrow();
  });
});

describe('refuses', () => {
  test.each<[string, Constraints, Uint8Array, RegExp]>([
    ['a URI on another host', { permitted: [uri('prod.example')] }, uri('spiffe://test.example/x'), OUTSIDE],
    [
      'a URI on a host below',
      { permitted: [uri('prod.example')] },
      uri('spiffe://a.prod.example/x'),
      OUTSIDE,
    ],
    ['a host that ends alike', { permitted: [uri('.example')] }, uri('spiffe://badexample/x'), OUTSIDE],
    [
      'the host as user',
      { permitted: [uri('prod.example')] },
      uri('https://prod.example@evil.example/'),
      OUTSIDE,
    ],
    [
      'a URI without a host',
      { permitted: [uri('prod.example')] },
      uri('urn:prod.example'),
      /URI has no host name/,
    ],
    [
      'a URI with an address',
      { permitted: [uri('prod.example')] },
      uri('https://[::1]/'),
      /URI has no host name/,
    ],
    ['an excluded URI', { excluded: [uri('prod.example')] }, uri('spiffe://prod.example/x'), EXCLUDED],
    [
      'permitted and excluded',
      { permitted: [dns('example')], excluded: [dns('web.example')] },
      dns('a.web.example'),
      EXCLUDED,
    ],
    ['a DNS name that ends alike', { permitted: [dns('example')] }, dns('badexample'), OUTSIDE],
    ['a wildcard that reaches outside', { permitted: [dns('web.example')] }, dns('*.example'), OUTSIDE],
    [
      'a wildcard that covers what is excluded',
      { excluded: [dns('web.example')] },
      dns('*.example'),
      EXCLUDED,
    ],
    ['another mailbox', { permitted: [email('root@prod.example')] }, email('Root@prod.example'), OUTSIDE],
    ['a mailbox at a host below', { permitted: [email('example')] }, email('root@prod.example'), OUTSIDE],
    [
      'an address of another network',
      { permitted: [ip(10, 0, 0, 0, 255, 0, 0, 0)] },
      ip(11, 1, 2, 3),
      OUTSIDE,
    ],
    ['an address of another family', { permitted: [ip(...Array(32).fill(0))] }, ip(0, 0, 0, 0), OUTSIDE],
    ['another directory name', { permitted: [directory(parts('a'))] }, directory(parts('b')), OUTSIDE],
    ['a directory name above', { permitted: [directory(parts('a', 'b'))] }, directory(parts('a')), OUTSIDE],
    [
      'a kind that is not processed',
      { excluded: [der.implicit(8, Uint8Array.of(42))] },
      der.implicit(8, Uint8Array.of(43)),
      /kind 8 is constrained, which is not processed/,
    ],
  ])('%s', (_, constraints, name, message) => {
    const refusal = expect.objectContaining({ code: 'chain', message: expect.stringMatching(message) });
    expect(() => check(constraints, name)).toThrow(refusal);
  });

  test('a subject, and the e-mail address in it', () => {
    const other = uri('spiffe://prod.example/x');
    expect(() => check({ permitted: [directory(parts('a'))] }, other, parts('b'))).toThrow(OUTSIDE);
    expect(() => check({ permitted: [email('prod.example')] }, other, mail)).toThrow(OUTSIDE);
  });

  const base = dns('example');
  test.each([
    ['nothing', der.sequence(), /name constraints are empty/],
    ['an empty list', der.sequence(der.explicit(0)), /a list of subtrees is empty/],
    [
      'a distance',
      der.sequence(der.explicit(0, der.sequence(base, der.implicit(0, Uint8Array.of(1))))),
      /subtree has 3/,
    ],
    [
      'a third list',
      der.sequence(der.explicit(0, der.sequence(base)), der.explicit(2)),
      /name constraints has 2/,
    ],
    ['a DNS wildcard', constraint(dns('*.example')), /DNS name constraint is malformed/],
    ['a DNS name with a leading dot', constraint(dns('.example')), /DNS name constraint is malformed/],
    ['a mailbox of two hosts', constraint(email('a@b@c')), /e-mail constraint is malformed/],
    ['an address without a mask', constraint(ip(10, 0, 0, 0)), /not address and mask/],
    ['a mask with holes', constraint(ip(10, 0, 0, 0, 255, 0, 255, 0)), /has holes/],
    [
      'more after them',
      Buffer.concat([der.sequence(der.explicit(0, der.sequence(base))), base]),
      /name constraints has/,
    ],
  ])('constraints of %s', (_, value, message) => {
    const refusal = expect.objectContaining({ code: 'chain', message: expect.stringMatching(message) });
    expect(() => read(value)).toThrow(refusal);
  });

  function constraint(name: Uint8Array): Uint8Array {
    return der.sequence(der.explicit(0, der.sequence(name)));
  }
});
