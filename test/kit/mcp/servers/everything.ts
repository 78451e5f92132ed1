/** The reference server, over stdio and over HTTP. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { allowedEnvironment } from '@chancery/agent/mcp/upstream/stdio/command.ts';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';

export async function freePort(): Promise<number> {
  const server = createNetServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const LOOPBACK = new URL('./loopback.ts', import.meta.url).href;
const EVERYTHING = new URL(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'))
  .pathname;
const environment = allowedEnvironment(process.env, []);

export const everythingOverStdio: UpstreamTarget = {
  kind: 'command',
  command: [process.execPath, EVERYTHING, 'stdio'],
  env: environment,
};

/** The reference server over HTTP, in a process of its own. */
export async function startEverything(): Promise<{ url: URL; child: ChildProcess; stop(): Promise<void> }> {
  const port = await freePort();
  // Whatever happens to this process, what it started ends with it.
  const command = [
    '--pdeathsig',
    'KILL',
    process.execPath,
    '--import',
    LOOPBACK,
    EVERYTHING,
    'streamableHttp',
  ];
  const child = spawn('setpriv', command, {
    env: { ...environment, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const url = new URL(`http://127.0.0.1:${port}/mcp`);
  for await (const chunk of child.stderr) if (String(chunk).includes('listening')) break;
  child.stderr.resume();
  return {
    url,
    child,
    async stop() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}
