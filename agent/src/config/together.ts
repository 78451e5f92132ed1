/** What of the agent's config is valid alone but not together. */
import { trustDomainOf } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { overlap } from '@chancery/shared/text/address.ts';
import { socketPathProblem } from '@chancery/shared/text/socket-path.ts';
import { type AgentSettings, paths } from './schema.ts';

type Contradiction = readonly [key: keyof AgentSettings, says: string];

/** Finds keys that are valid alone but not together. */
export function contradictions(settings: AgentSettings): readonly Contradiction[] {
  const { platform, evidence, ca, id, trustDomain, ...rest } = settings;
  const found: Contradiction[] = [];
  if ((platform === undefined) === (evidence === undefined))
    found.push(['evidence', 'evidence: write either platform: auto or evidence with the platforms by name']);
  if (evidence?.unix !== undefined && ca.socket === undefined)
    found.push(['ca', 'ca.socket: the unix platform needs the path of the CA’s join.sock']);
  if (id !== undefined && trustDomainOf(id) !== trustDomain)
    found.push(['id', `id: ${id} is not of trust domain ${trustDomain}`]);
  if (id !== undefined && isReserved(id))
    found.push(['id', `id: ${id} is reserved for the trust domain itself`]);
  if (keysStayInPlatform(settings)) found.push(...beyondFiles(rest));
  return found;
}

/** Finds paths that are too long for a socket. */
export function tooLong({ dataDir, ca, gateway, connect }: AgentSettings): readonly Contradiction[] {
  const upstreams = (gateway?.servers ?? []).flatMap(({ upstream }) =>
    'socket' in upstream ? [upstream.socket] : [],
  );
  const local = connect.flatMap(({ listen }) => (listen.startsWith('unix:') ? [listen.slice(5)] : []));
  const sockets = [
    ['dataDir', paths(dataDir).socket],
    ['ca', ca.socket ?? ''],
    ...upstreams.map((path) => ['gateway', path] as const),
    ...local.map((path) => ['connect', path] as const),
  ] as const;
  return sockets.flatMap(([key, path]) => {
    const says = socketPathProblem(path);
    return says === undefined ? [] : [[key, `${key}: ${says}`] as const];
  });
}

interface Place {
  readonly key: readonly PropertyKey[];
  readonly value: string;
}

/** Finds a folder that two outputs use, and an address that two listeners use. */
export function twice({
  dataDir,
  outputs,
  http,
  gateway,
  connect,
}: AgentSettings): readonly (readonly [Place, Place])[] {
  const addresses: readonly (Place | undefined)[] = [
    { key: ['agent.sock'], value: `unix:${paths(dataDir).socket}` },
    http && { key: ['http'], value: http.listen },
    gateway && { key: ['gateway', 'listen'], value: gateway.listen },
    ...connect.map(({ listen }, index) => ({ key: ['connect', index, 'listen'], value: listen })),
  ];
  return [
    ...repeated(outputs.map(({ dir }, index) => ({ key: ['outputs', index, 'dir'], value: dir }))),
    // Each listener on port 0 gets a port of its own.
    ...repeated(addresses.filter((each) => each !== undefined).filter(({ value }) => !value.endsWith(':0'))),
  ];
}

const repeated = (places: readonly Place[]): readonly (readonly [Place, Place])[] =>
  places.flatMap((place, index) => {
    const twin = places.slice(0, index).find(({ value }) => areOne(value, place.value));
    return twin === undefined ? [] : [[place, twin] as const];
  });

/** Whether two folders, sockets or addresses are one. */
const areOne = (a: string, b: string): boolean =>
  a === b || (![a, b].some((each) => /^(unix:|\/)/.test(each)) && overlap(a, b));

const NO_STREAM =
  'an agent whose key is in the TPM has no trust stream, by which the CA sends the full chain';

/** Node's TLS cannot use a key in a TPM; other programs can, by its file. */
function beyondFiles({ gateway, connect, outputs }: Pick<AgentSettings, 'gateway' | 'connect' | 'outputs'>) {
  const found: Contradiction[] = [];
  if (gateway !== undefined) found.push(['gateway', `gateway: ${IN_MEMORY}`]);
  if (connect.length > 0) found.push(['connect', `connect: ${IN_MEMORY}`]);
  if (outputs.length === 0)
    found.push(['evidence', 'outputs: a key in the TPM is of use by its file only; name a folder for it']);
  for (const [n, { chain }] of outputs.entries())
    if (chain === 'full') found.push(['outputs', `outputs[${n}].chain: ${NO_STREAM}`]);
  return found;
}

/** True if the keys are made in the platform and stay there, so that this process cannot use them. */
export const keysStayInPlatform = ({ evidence }: Pick<AgentSettings, 'evidence'>): boolean =>
  evidence?.tpm?.key === 'tpm';

/** What to write instead. */
export const IN_MEMORY = 'this needs a key that the agent can use itself: write evidence.tpm.key: memory';
