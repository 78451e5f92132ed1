/** nginx, as anybody runs it in front of a service: mutual TLS by the files of an agent's output. */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';

/** Undefined if there is no nginx here; a test says so and leaves out what needs it. */
export const nginxVersion = (): string | undefined => {
  const { status, stderr } = spawnSync('nginx', ['-v'], { encoding: 'utf8' });
  return status === 0 ? stderr.trim() : undefined;
};

export interface Nginx {
  readonly pidFile: string;
  /** Starts it; the files of the output must be there. */
  start(): void;
  /** Resolves when it has ended. */
  stop(): Promise<void>;
}

/**
 * `output` is the folder of an output with `crl`. Its state is in `dir`. With `clients`, a PEM file, those are the
 * authorities of its clients, and no list is asked for.
 */
export function makeNginx(dir: string, output: string, port: number, clients?: string): Nginx {
  fs.mkdirSync(dir, { recursive: true });
  const pidFile = join(dir, 'nginx.pid');
  const config = join(dir, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  fs.writeFileSync(
    config,
    `daemon off;
pid ${pidFile};
error_log ${join(dir, 'error.log')};
worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${join(dir, name)};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate ${join(output, 'svid.pem')};
    ssl_certificate_key ${join(output, 'key.pem')};
    ssl_client_certificate ${clients ?? join(output, 'bundle.pem')};
    ${clients === undefined ? `ssl_crl ${join(output, 'crl.pem')};` : ''}
    ssl_verify_client on;
    ssl_verify_depth ${clients === undefined ? 3 : 5};
    ssl_session_tickets off;
    location / { return 200 "welcome"; }
  }
}
`,
  );
  let running: ReturnType<typeof spawn> | undefined;
  return {
    pidFile,
    start: () => {
      running = spawn('nginx', ['-p', dir, '-c', config, '-e', join(dir, 'error.log')], { stdio: 'ignore' });
    },
    stop: async () => {
      const child = running;
      if (child === undefined || child.exitCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/**
 * What a server answers to the holder of the files in `client`: the status line, or why there is no connection. `ca` is
 * what the holder trusts, by default the bundle.
 */
export function askOver(port: number, client: string, ca = join(client, 'bundle.pem')): Promise<string> {
  const file = (name: string) => fs.readFileSync(join(client, name));
  return new Promise((resolve) => {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      ca: fs.readFileSync(ca),
      cert: file('svid.pem'),
      key: file('key.pem'),
      // An SVID names no host.
      checkServerIdentity: () => undefined,
    });
    let said = '';
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', (bytes) => {
      said += bytes.toString('latin1');
    });
    socket.on('error', (error) => resolve(error.message));
    socket.on('close', () => resolve(said.split('\r\n', 1)[0] ?? ''));
  });
}
