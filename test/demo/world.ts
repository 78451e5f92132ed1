/** The demo's world: two machines, a CA, a gateway before an MCP server, and an agent beside an MCP client. */

import { createRequire } from 'node:module';
import { userInfo } from 'node:os';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../kit/tpm/swtpm.ts';
import { endorsementKeyName } from '../kit/tpm/tpm-name.ts';

export interface World {
  readonly platform: 'tpm' | 'unix';
  readonly ca: CaFolder;
  readonly gateway: AgentFolder;
  readonly client: AgentFolder;
  readonly gatewayPort: number;
  readonly clientId: string;
  readonly serverId: string;
  readonly log: () => string;
  close(): Promise<void>;
}

export const TRUST_DOMAIN = 'demo.example';
const TTL = '20s';
const CLIENT = { id: `spiffe://${TRUST_DOMAIN}/agents/assistant`, name: 'assistant' };
const SERVER = { id: `spiffe://${TRUST_DOMAIN}/tools/everything`, name: 'everything' };

/** The newcomer's rules: three tools by name and by pattern, and nothing else. */
const TOOLS = ['echo', 'get-sum', '/get-(tiny-image|annotated-message)/'];
const accessTo = (allow: readonly string[]) => ({
  kind: 'Access',
  name: 'assistant-tools',
  who: [CLIENT.id],
  servers: ['everything'],
  tools: { allow, deny: ['get-env'] },
});

/** Each step is told by `say` as it happens. */
export async function makeWorld(
  say: (line: string) => void,
  platform: 'tpm' | 'unix',
  ttl = TTL,
  tools: readonly string[] = TOOLS,
): Promise<World> {
  const parts: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part();
  };
  const start = async (starting: Promise<Running>): Promise<Running> => {
    const running = await starting;
    parts.push(() => running.stop());
    return running;
  };
  try {
    const dir = makeFolder();
    parts.push(() => removeFolder(dir));
    const machines = platform === 'tpm' ? await makeMachines(parts) : undefined;
    if (machines !== undefined)
      say('two machines, each with a software TPM and its manufacturer’s certificate');
    const ca = await makeCa(dir, TRUST_DOMAIN, { attestors: attestors(machines) });
    const serving = await start(ca.serve());
    await ca.saveBundle();
    say(`the CA of ${TRUST_DOMAIN} serves on 127.0.0.1:${ca.port}; its root is all that anyone trusts`);
    const gatewayPort = await freePort();
    await ca.apply([...(await identities(machines, ttl)), mcpServer(gatewayPort), accessTo(tools)]);
    say('registry: two identities, one MCP server, one access rule');
    const gateway = makeAgent(ca, 'server', {
      evidence: evidence(machines?.server),
      ...(platform === 'unix' ? { id: SERVER.id } : {}),
      gateway: {
        server: 'everything',
        listen: `127.0.0.1:${gatewayPort}`,
        upstream: { command: everything(), user: userInfo().username },
      },
    });
    const client = makeAgent(ca, 'client', {
      evidence: evidence(machines?.client),
      outputs: [{ dir: 'out' }],
      ...(platform === 'unix' ? { id: CLIENT.id } : {}),
    });
    const running = [await start(gateway.run('gateway')), await start(client.run())];
    return {
      platform,
      ca,
      gateway,
      client,
      gatewayPort,
      clientId: CLIENT.id,
      serverId: SERVER.id,
      log: () => [serving, ...running].map(({ log }) => log()).join('\n'),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Machines {
  readonly server: SoftwareTpm;
  readonly client: SoftwareTpm;
}

async function makeMachines(parts: (() => Promise<void> | void)[]): Promise<Machines> {
  const [server, client] = await Promise.all([makeSoftwareTpm(), makeSoftwareTpm()]);
  parts.push(
    () => server.stop(),
    () => client.stop(),
  );
  return { server, client };
}

function attestors(machines: Machines | undefined): object {
  if (machines === undefined) return { unix: {} };
  const both = Object.values(machines);
  return {
    tpm: {
      roots: both.flatMap(({ roots }) => roots),
      intermediates: both.flatMap(({ intermediates }) => intermediates),
    },
  };
}

/** A TPM earns its name by its endorsement key; without TPMs both run as one user, who may have both names. */
async function identities(machines: Machines | undefined, ttl: string): Promise<readonly object[]> {
  const identity = ({ id, name }: typeof CLIENT, when: object) => ({
    kind: 'Identity',
    name,
    id,
    x509: { ttl },
    ...when,
  });
  if (machines === undefined) return [CLIENT, SERVER].map((each) => identity(each, { platform: 'unix' }));
  const bound = async (each: typeof CLIENT, { device }: SoftwareTpm) =>
    identity(each, { platform: 'tpm', when: `ek == '${await endorsementKeyName(device)}'` });
  return [await bound(CLIENT, machines.client), await bound(SERVER, machines.server)];
}

const evidence = (machine: SoftwareTpm | undefined): object =>
  machine === undefined ? { unix: {} } : { tpm: { device: machine.device } };

const mcpServer = (port: number): object => ({
  kind: 'McpServer',
  name: 'everything',
  identity: SERVER.id,
  address: `127.0.0.1:${port}`,
  owner: 'demo',
});

function everything(): readonly string[] {
  const entry = createRequire(import.meta.url).resolve(
    '@modelcontextprotocol/server-everything/dist/index.js',
  );
  return [process.execPath, entry, 'stdio'];
}
