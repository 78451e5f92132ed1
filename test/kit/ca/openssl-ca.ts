/** A corporate CA of two levels, as openssl makes it: what it signs for us, and what it may try. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface OpensslCa {
  /** PEM files. */
  readonly root: string;
  readonly intermediate: string;
  /** Signs a request as `openssl ca` does that copies extensions; returns the chain, PEM, without the root. */
  certify(request: string): string;
  /** A leaf of its intermediate for this URI: a file with certificate and intermediate, and one with the key. */
  mint(uri: string, name: string): { readonly chain: string; readonly key: string };
}

/** In `dir`; its intermediate may certify URIs of `host` and DNS names below it only. */
export function makeOpensslCa(dir: string, host: string): OpensslCa {
  mkdirSync(dir, { recursive: true });
  const at = (name: string): string => join(dir, name);
  const openssl = (...args: readonly string[]): string =>
    execFileSync('openssl', args, { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  writeFileSync(at('ca.cnf'), configOf(dir, host));
  writeFileSync(at('index.txt'), '');
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-config', at('ca.cnf')];
  const subject = (name: string) => ['-subj', `/O=Corporate/CN=${name}`];
  openssl('req', '-x509', ...ec, ...subject('Root'), '-days', '3650', '-extensions', 'root', ...out('root'));
  openssl(
    'req',
    '-new',
    ...ec,
    ...subject('Intermediate'),
    '-out',
    at('intermediate.csr'),
    '-keyout',
    at('intermediate.key'),
  );
  const sign = ['ca', '-batch', '-config', at('ca.cnf'), '-notext', '-preserveDN'];
  const by = (name: string) => ['-cert', at(`${name}.pem`), '-keyfile', at(`${name}.key`)];
  openssl(
    ...sign,
    ...by('root'),
    '-extensions',
    'between',
    '-in',
    at('intermediate.csr'),
    '-out',
    at('intermediate.pem'),
  );
  function out(name: string): readonly string[] {
    return ['-out', at(`${name}.pem`), '-keyout', at(`${name}.key`)];
  }
  const intermediate = () => readFileSync(at('intermediate.pem'), 'utf8');
  return {
    root: at('root.pem'),
    intermediate: at('intermediate.pem'),
    certify: (request) => {
      openssl(
        ...sign,
        ...by('intermediate'),
        '-extensions',
        'cross',
        '-in',
        request,
        '-out',
        at('cross.pem'),
      );
      return readFileSync(at('cross.pem'), 'utf8') + intermediate();
    },
    mint: (uri, name) => {
      const san = ['-addext', `subjectAltName=critical,URI:${uri}`];
      openssl(
        'req',
        '-new',
        ...ec,
        '-subj',
        '/',
        ...san,
        '-out',
        at(`${name}.csr`),
        '-keyout',
        at(`${name}.key`),
      );
      openssl(
        ...sign,
        ...by('intermediate'),
        '-extensions',
        'leaf',
        '-in',
        at(`${name}.csr`),
        '-out',
        at(`${name}.pem`),
      );
      writeFileSync(at(`${name}-chain.pem`), readFileSync(at(`${name}.pem`), 'utf8') + intermediate());
      return { chain: at(`${name}-chain.pem`), key: at(`${name}.key`) };
    },
  };
}

const configOf = (dir: string, host: string): string => `
[ca]
default_ca = corporate
[corporate]
database = ${join(dir, 'index.txt')}
new_certs_dir = ${dir}
default_md = sha256
default_days = 365
policy = any
copy_extensions = copy
unique_subject = no
rand_serial = yes
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE,pathlen:3
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[between]
basicConstraints = critical,CA:TRUE,pathlen:2
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
nameConstraints = critical,permitted;URI:${host},permitted;DNS:${host}
[cross]
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
authorityKeyIdentifier = keyid
`;
